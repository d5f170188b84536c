#!/bin/sh
# Makes what compose.yaml needs and nobody else may have: passwords, the master key, and a first
# configuration. What is there already stays as it is.
#   ./setup.sh && docker compose up --build --detach
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in superuser replication application countersign.key; do
    # 32 bytes in hexadecimal digits: as `countersign key new` makes a master key.
    [ -s "secrets/$name" ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
done
if [ ! -e countersign.toml ]; then
    cat > countersign.toml <<'TOML'
# Made by setup.sh. Every setting is explained in docs/configuration.md.
[company]
name = "Juniper & Co"
fraud_line = "+1 202 555 0100"

[listen]
address = "0.0.0.0:8080"
public_url = "https://calls.example.com"

[store]
# Without encryption: the network between these containers does not leave their machine. Databases on
# machines of their own have certificates, and `ca_file` names who has issued them.
postgres = "postgres://countersign@db1,db2,db3/countersign?target_session_attrs=read-write&sslmode=disable"
password_file = "/etc/countersign/secrets/application"

[keys]
file = "/etc/countersign/secrets/countersign.key"
TOML
fi
# Nodes run as whoever owns these files, since nobody else may read them.
cat > .env <<ENV
OWNER=$(id -u):$(id -g)
SUPERUSER=$(cat secrets/superuser)
REPLICATION=$(cat secrets/replication)
APPLICATION=$(cat secrets/application)
ENV
echo "Ready: docker compose up --build --detach"
