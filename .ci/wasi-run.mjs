// Runs a wasm32-wasip1 program in node, as .ci/cross does: wasi-run.mjs PROGRAM [arguments]. It sees the folder
// that it is started in, under its own name, and the environment.
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
const { instance } = await WebAssembly.instantiate(await readFile(program), wasi.getImportObject());
process.exit(wasi.start(instance));
