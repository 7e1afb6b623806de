import {
  accessSync,
  chmodSync,
  constants,
  linkSync,
  lstatSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { isWrapper, type WrappedTool, wrappedTools, wrapperScript } from '../../qemu/wrapper.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

/** Puts wrappers of QEMU's tools on PATH, so that scripts with `sheepdog:` names keep working; and takes them away. */
const DIRECTORY_DEFAULT = '/usr/local/bin';

interface Options {
  dir?: string;
}

const options = [
  [
    '-d, --dir <dir>',
    `a directory that stands before the real tools on PATH (default: ${DIRECTORY_DEFAULT})`,
  ],
] as const;

export function toolsCommands(program: Command, runner: Runner): void {
  const parent = program
    .command('tools')
    .summary("sheepdog: names for today's QEMU")
    .description("Commands for QEMU's tools on this host.");
  addLeaf<Options>(parent, runner, {
    usage: 'install',
    summary: 'let qemu-img and qemu-io take sheepdog: names again',
    details:
      'Puts small wrappers named qemu-img and qemu-io into a directory. A call that names a sheepdog image goes to\n' +
      'Sheepfold, every other one straight to the real tool. Files that are no wrappers are never replaced.',
    examples: ['dog tools install', 'dog tools install --dir ~/bin', 'qemu-img create sheepdog:first 4G'],
    options,
    run: install,
  });
  addLeaf<Options>(parent, runner, {
    usage: 'remove',
    summary: 'take the wrappers away again',
    examples: ['dog tools remove', 'dog tools remove --dir ~/bin'],
    options,
    run: remove,
  });
}

type State = 'absent' | 'wrapper' | 'foreign';

function look(directory: string): { tool: WrappedTool; path: string; state: State }[] {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Exit(exitCodes.failure, `${directory} is no directory`);
  }
  return wrappedTools.map((tool) => {
    const path = join(directory, tool);
    return { tool, path, state: stateOf(path) };
  });
}

function stateOf(path: string): State {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 'absent';
  return stat.isFile() && isWrapper(path) ? 'wrapper' : 'foreign';
}

async function install(context: Context, _operands: string[], given: Options): Promise<void> {
  const directory = resolve(given.dir ?? DIRECTORY_DEFAULT);
  const found = look(directory);
  // All files are looked at before the first is written: one foreign file, and nothing happens.
  const foreign = found.find(({ state }) => state === 'foreign');
  if (foreign !== undefined) {
    throw new Exit(exitCodes.exists, `${foreign.path} is not one of our wrappers: nothing was changed`, {
      hint: 'Choose another directory with --dir; it has to stand before the real tools on PATH.',
    });
  }
  for (const { tool, path, state } of found) put(path, wrapperScript(tool), state);
  for (const { path } of found) if (!context.json) await context.printLine(`installed ${path}`);
  if (context.json) await context.printJson({ installed: found.map(({ path }) => path) });
  for (const { tool, path } of found) {
    const first = firstOnPath(tool, context.io.env.PATH ?? '');
    if (first !== path) {
      context.note(
        `${first ?? tool} comes first on PATH: put ${directory} before it, or the wrapper is not used`,
      );
    }
  }
}

/** Complete or not there: a crash leaves at most a file of another name. Never in the place of a foreign file. */
function put(path: string, text: string, state: State): void {
  const fresh = `${path}.new-${process.pid}`;
  try {
    writeFileSync(fresh, text, { flag: 'wx' });
    chmodSync(fresh, 0o755);
    if (state === 'wrapper') renameSync(fresh, path);
    else linkSync(fresh, path);
  } catch (error) {
    throw new Exit(exitCodes.system, `${path} cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    rmSync(fresh, { force: true });
  }
}

function firstOnPath(tool: string, searchPath: string): string | undefined {
  return searchPath
    .split(delimiter)
    .map((directory) => resolve(directory, tool))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

async function remove(context: Context, _operands: string[], given: Options): Promise<void> {
  const directory = resolve(given.dir ?? DIRECTORY_DEFAULT);
  const found = look(directory);
  const wrappers = found.filter(({ state }) => state === 'wrapper');
  for (const { path, state } of found) {
    if (state === 'foreign') context.note(`${path} is not one of our wrappers: it stays`);
  }
  if (wrappers.length === 0) throw new Exit(exitCodes.missing, `no wrappers are in ${directory}`);
  for (const { path } of wrappers) rmSync(path);
  if (context.json) return context.printJson({ removed: wrappers.map(({ path }) => path) });
  for (const { path } of wrappers) await context.printLine(`removed ${path}`);
}
