#!/bin/bash
# One database and one role a service: no service reads another's tables. Run once, by the image, in an empty server.
set -euo pipefail

for service in api provisioner bootstrapper health dns; do
  password=POSTGRES_PASSWORD_${service^^}
  psql --quiet --set ON_ERROR_STOP=1 --username postgres --set name="caravan_$service" --set password="${!password}" << 'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
