"""`emr serve`: read the configuration, take the database, listen, and run until told to stop.

SIGTERM and SIGINT drain (a second one ends at once), SIGHUP reloads. What it prints at the start
goes to stdout, the log to stderr.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from emr.cli.trouble import Trouble

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Sequence

    from emr.app import App, Reread, Start
    from emr.control.config import Loaded
    from emr.control.lockfile import Lock
    from emr.control.places import Places
    from emr.control.secrets import Secret
    from emr.control.settings import Settings
    from emr.control.store import Store

log = logging.getLogger("emr.serve")

FLAGS = {
    "server.bind": "bind",
    "database.path": "database",
    "log.level": "log_level",
    "log.format": "log_format",
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("serve", help="start the router", description=__doc__)
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--bind", metavar="HOST:PORT", help="where to listen")
    parser.add_argument("--database", metavar="FILE", help="the database of keys and providers")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--log-format", metavar="FORMAT", help="auto, text or json")
    parser.add_argument("--admin-secret", metavar="SECRET", help="better: EMR_ADMIN_SECRET")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    import uvloop

    from emr.app import Start
    from emr.control.config import ConfigError
    from emr.control.logs import set_up
    from emr.control.places import Places
    from emr.control.secrets import SecretError
    from emr.control.systemd import inherited_sockets
    from emr.front.binds import BindError

    places = Places.of(os.environ)
    try:
        sockets = inherited_sockets(os.environ)
        reread = rereader(args, places, sockets)
        loaded, secret = reread()
    except (BindError, ConfigError, SecretError) as error:
        raise Trouble(str(error)) from error
    set_up(loaded.settings.log.level, loaded.settings.log.format)
    for warning in loaded.warnings:
        log.warning(warning)
    store, lock = open_store(loaded.settings, places)
    for news in store.news:
        log.warning(news)
    try:
        start = Start(loaded, secret, places, os.environ, store, reread)
        return uvloop.run(serve(start, lock, sockets))
    finally:
        store.close()
        if lock is not None:
            lock.release()


def rereader(args: argparse.Namespace, places: Places, sockets: Sequence[socket.socket]) -> Reread:
    """What reads configuration and admin secret, now and at every reload."""
    from emr.control.config import find_file, load
    from emr.control.config_text import handed_over
    from emr.control.endpoints import row_rules
    from emr.control.secrets import find_admin_secret
    from emr.control.systemd import places_of

    flags = {key: getattr(args, name) for key, name in FLAGS.items() if getattr(args, name)}

    def reread() -> tuple[Loaded, Secret | None]:
        file = find_file(places, os.environ, args.config)
        loaded = load(file, os.environ, row_rules(), flags)
        if sockets:
            loaded = handed_over(loaded, places_of(sockets))
        return loaded, find_admin_secret(places, os.environ, args.admin_secret)

    return reread


def open_store(settings: Settings, places: Places) -> tuple[Store, Lock | None]:
    """The database and its lock. Where none can be made it is in memory, on a terminal only."""
    from emr.control.lockfile import LockError, LockHeld, take_lock
    from emr.control.store import StorageError, Store

    path = settings.database_file(places)
    if path is None:
        return Store(None), None
    lock = None
    try:
        lock = take_lock(path)
        return Store(path), lock
    except LockHeld as error:
        raise Trouble(str(error)) from error
    except (LockError, StorageError) as error:
        if lock is not None:
            lock.release()
        if os.path.exists(path) or not sys.stderr.isatty():
            raise Trouble(f"database.path {path}: {error}") from error
        print(f"emr: {error}\nemr: serving from memory: keys are lost at the end", file=sys.stderr)
        return Store(None), None


async def serve(start: Start, lock: Lock | None, sockets: Sequence[socket.socket]) -> int:
    """Run the app in this event loop to its end."""
    import gc

    from emr.app import App
    from emr.cli.first import first_start
    from emr.control.lockfile import LockError
    from emr.control.store import StorageError
    from emr.control.systemd import notify
    from emr.front.binds import BindError
    from emr.front.tls import TlsError

    try:
        app = App(start)
    except StorageError as error:
        raise Trouble(str(error)) from error
    try:
        heed_signals(app, start)
        welcome = first_start(app, start)
        await app.open(sockets)
        if lock is not None:
            lock.announce(welcome.address_of(app))
        print(welcome.text(app), flush=True)
        gc.collect()
        gc.freeze()  # what lives for the whole process is not looked at again
        notify(start.environment, "READY=1", f"STATUS=serving at {welcome.address_of(app)}")
        watch(start, app.loop)
        await until_the_end(app, start)
    except (BindError, TlsError, LockError, StorageError) as error:
        raise Trouble(str(error)) from error
    finally:
        await app.close()
    return 0


def heed_signals(app: App, start: Start) -> None:
    """From here on no signal ends the process but by a drain: READY is told after this."""
    stops = 0

    def stop() -> None:
        nonlocal stops
        stops += 1
        if stops > 1:
            app.listener.close()
        app.ask_to_drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        app.loop.add_signal_handler(number, stop)
    app.loop.add_signal_handler(signal.SIGHUP, reload, app, start)


async def until_the_end(app: App, start: Start) -> None:
    """Wait for the drain to be asked for, and drain."""
    from emr.control.systemd import notify

    await app.drain_asked.wait()
    notify(start.environment, "STOPPING=1", "STATUS=finishing what was taken")
    log.info("Draining", extra={"figures": {"requests": len(app.listener.unfinished())}})
    for left in await app.drain():
        figures = {"request": str(left)}
        log.warning("A request was broken off at the end", extra={"figures": figures})


def reload(app: App, start: Start) -> None:
    """SIGHUP: read the configuration again; a bad one changes nothing."""
    from emr.control.config import ConfigError
    from emr.control.secrets import SecretError
    from emr.control.systemd import notify, reloading

    notify(start.environment, *reloading())
    try:
        app.reload()
    except (ConfigError, SecretError) as error:
        log.error("The configuration was not reloaded: %s", error)
    notify(start.environment, "READY=1")


def watch(start: Start, loop: asyncio.AbstractEventLoop) -> None:
    """Feed the service manager's watchdog from the loop that serves."""
    from emr.control.systemd import notify, watchdog_s

    every = watchdog_s(start.environment)
    if every is not None:
        notify(start.environment, "WATCHDOG=1")
        loop.call_later(every, watch, start, loop)
