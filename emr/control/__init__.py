"""The control plane: settings, store, keys, providers, and the views of one snapshot.

Its ground:

    values, binds     the forms that a value of the configuration can have
    settings          the table of settings, and the values that come out of it
    config            from file, environment and flags to Settings; toml_lines finds the lines
    config_text       the configuration as people read it
    places, private   where emr's files are; files that only their owner may read
    secrets           the admin secret and the providers' keys
    store             the database and its one writer thread; migrations, adopt, lockfile, times
    keys              the callers' keys, managed; key_rows one key, keyring who a key belongs to
    providers         the registered providers; rows one row and its rules
"""
