// Runs a wasm32-wasip1 program in node, as .ci/cross does: wasi-run.mjs PROGRAM [arguments]. The program sees the
// current folder, under its own name, and the environment.
import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const [program, ...args] = process.argv.slice(2);
const wasi = new WASI({
    version: 'preview1',
    args: [program, ...args],
    env: process.env,
    preopens: { [process.cwd()]: process.cwd() },
    returnOnExit: true,
});
// Where it can, V8 calls node's functions without going through JavaScript. node 20 then often crashes when the
// program ends. V8 cannot call these functions that way.
const imports = wasi.getImportObject();
const calls = imports.wasi_snapshot_preview1;
for (const [name, call] of Object.entries(calls)) calls[name] = (...args) => call(...args);
const { instance } = await WebAssembly.instantiate(await readFile(program), imports);
process.exit(wasi.start(instance));
