#!/usr/bin/env node
// Links dog, sheep and the other commands into node_modules/.bin, so that `npx dog` works from the checkout. npm does
// this for dependencies only, never for the package itself. Safe to run again.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const binDirectory = join(root, 'node_modules', '.bin');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

mkdirSync(binDirectory, { recursive: true });
for (const [name, path] of Object.entries(bin)) {
  const target = join(root, path);
  const link = join(binDirectory, name);
  rmSync(link, { force: true });
  if (!existsSync(target)) continue;
  chmodSync(target, 0o755);
  symlinkSync(relative(binDirectory, target), link);
}
