#!/bin/sh
# Keep the last seven daily copies of a folder.
set -eu

source_folder=${1:?usage: backup.sh FOLDER DESTINATION}
destination=${2:?usage: backup.sh FOLDER DESTINATION}

stamp=$(date +%Y-%m-%d)
mkdir -p "$destination"
tar -czf "$destination/$stamp.tar.gz" -C "$source_folder" .

ls -1 "$destination" | sort -r | tail -n +8 | while read -r old; do
  rm -- "$destination/$old"
done
