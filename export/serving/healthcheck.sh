#!/bin/bash
# Healthy when a version of the model is AVAILABLE. The image has neither curl nor wget, but bash opens sockets.
# usage: healthcheck.sh HOST PORT MODEL
exec 3<>"/dev/tcp/$1/$2" || exit 1
printf 'GET /v1/models/%s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n' "$3" "$1" >&3
grep --quiet '"AVAILABLE"' <&3
