// Bundles the page into dist/, which the Go package embeds.
import { build } from 'esbuild';
import { copyFile, mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
await mkdir(here('dist'), { recursive: true });
await build({
  entryPoints: [here('src/app.js')],
  outfile: here('dist/app.js'),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'eof',
  logLevel: 'warning',
});
for (const name of ['index.html', 'style.css', 'icon.svg']) await copyFile(here(`src/${name}`), here(`dist/${name}`));
