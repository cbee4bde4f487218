#!/bin/sh
# Makes the secrets of a new installation in a new folder; nothing is ever overwritten:
#     deploy/new-secrets.sh FOLDER
#     kubectl create secret generic inkwright --from-file=FOLDER/keys
#     docker compose --env-file FOLDER/compose.env -f deploy/compose.yaml up -d
set -eu
umask 077
if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
mkdir "$1" "$1/keys"
cd "$1"

head -c 32 /dev/urandom > keys/secret.key
# Letters and digits alone: the tokens travel in URLs and headers.
for name in token nats-token postgres-password dataset-password labeling-password trainer-password inference-password gateway-password; do
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "keys/$name"
done

for name in token nats-token postgres-password dataset-password labeling-password trainer-password inference-password gateway-password; do
    echo "$(echo "$name" | tr 'a-z-' 'A-Z_')=$(cat "keys/$name")"
done > compose.env
echo "SECRET_KEY_FILE=$PWD/keys/secret.key" >> compose.env
# Compose shows the file itself to a container, whose user is another one; on this machine the folder keeps others out.
chmod 0444 keys/secret.key
