// Writes what is made from index.js and index.d.ts: `npm run build`. A test checks that it is up to date.
import { readFileSync, writeFileSync } from 'node:fs';

const read = name => readFileSync(new URL(name, import.meta.url), 'utf8');

export function build() {
  const source = read('index.js').replace('export function connect', 'function connect');
  const note = '// Made from index.js by `npm run build`.\n';
  return {
    'index.cjs': `${note}'use strict';\n\n${source}\nexports.connect = connect;\n`,
    'browser.js': `${note}var socketiojwt = (function () {\n'use strict';\n\n${source}\nreturn { connect: connect };\n})();\n`,
    'index.d.cts': read('index.d.ts')
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const [name, text] of Object.entries(build())) writeFileSync(new URL(name, import.meta.url), text);
}
