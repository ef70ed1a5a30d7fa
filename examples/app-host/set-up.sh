#!/bin/sh
# Sets emr up for the applications of a host. Usage, as root: set-up.sh FILE-WITH-THE-KEY NAME…
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 FILE-WITH-THE-VOYAGE-KEY NAME-OF-AN-APPLICATION…" >&2
    exit 2
fi
key_file=$1
shift

install -m 0600 "$key_file" /etc/emr/credentials/VOYAGE_API_KEY
grep -q '^name = "voyage"' /etc/emr/config.toml || cat >>/etc/emr/config.toml <<'END'

[[providers]]
name = "voyage"
provider_type = "voyage"
api_key_env_var = "VOYAGE_API_KEY"
END
emr config validate

# the socket starts the service with the first request; the service is restarted for its new key
systemctl disable --now emr.service
systemctl enable --now emr.socket
systemctl restart emr.service

umask 077
mkdir -p /etc/emr-apps
for name in "$@"; do
    file=/etc/emr-apps/$name.env
    [ -e "$file" ] && continue
    key=$(emr keys create --name "$name")
    printf 'OPENAI_BASE_URL=http://127.0.0.1:3200/v1\nOPENAI_API_KEY=%s\n' "$key" >"$file"
    echo "the key of $name is in $file" >&2
done
