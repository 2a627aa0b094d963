#!/bin/bash
# node.sh DIR - bindings/node with what npm installs for it, in build/bindings/node; DIR is for its data
set -eu
cd "$(dirname "$0")/../.."
. tests/built.sh
export CALF_LIBRARY=$lib/libcalf.so NOTES=$1/notes
mkdir -p build/bindings
rm -rf build/bindings/node/{test,example}
cp -r bindings/node build/bindings
rm -rf build/bindings/program
mkdir build/bindings/program
cd build/bindings/node
# the registry is only asked when package.json is another one than before
if ! cmp -s package.json node_modules/installed.json; then
    npm install --no-package-lock --ignore-scripts --no-audit --no-fund
    cp package.json node_modules/installed.json
fi
npm test
node example/notes.js remember the milk
[[ $(node example/notes.js) = *"remember the milk" ]]

# as a user has it, after a second npm install as well; koffi is in npm's cache
cd ../program
echo '{ "private": true }' >package.json
quiet=(--prefer-offline --ignore-scripts --no-audit --no-fund)
npm install "${quiet[@]}" "./$(npm pack --silent ../../../bindings/node)"
npm install "${quiet[@]}" pg@8.23.1
cp ../../../bindings/node/example/notes.js .
[[ $(node notes.js) = *"remember the milk" ]]
