#!/bin/sh
# Runs RabbitMQ in this directory, as you and beside one that is a service.
set -eu
cd "$(dirname "$0")"

export RABBITMQ_NODENAME=iotcast-example@localhost
export RABBITMQ_CONFIG_FILE="$PWD/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/enabled_plugins"
export RABBITMQ_MNESIA_BASE="$PWD/data" RABBITMQ_LOG_BASE="$PWD/data" RABBITMQ_LOGS=-
# For rabbitmqctl. epmd, which finds nodes by their names, stays when RabbitMQ ends: epmd -port 14369 -kill
export RABBITMQ_DIST_PORT=25673 ERL_EPMD_PORT=14369 ERL_EPMD_ADDRESS=127.0.0.1

# Debian's own rabbitmq-server in PATH is for root and the user rabbitmq.
PATH=/usr/lib/rabbitmq/bin:$PATH
exec rabbitmq-server
