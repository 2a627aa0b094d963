#!/bin/bash
# node.sh DIR - bindings/node with what npm installs for it, in build/bindings/node; DIR is for its data
set -eu
cd "$(dirname "$0")/../.."
. tests/built.sh
export CALF_LIBRARY=$lib/libcalf.so NOTES=$1/notes
mkdir -p build/bindings
rm -rf build/bindings/node/{test,example}
cp -r bindings/node build/bindings
cd build/bindings/node
# the registry is only asked when package.json is another one than before
if ! cmp -s package.json node_modules/installed.json; then
    npm install --no-package-lock --ignore-scripts --no-audit --no-fund
    cp package.json node_modules/installed.json
fi
npm test
node example/notes.js remember the milk
[[ $(node example/notes.js) = *"remember the milk" ]]
