import { chmodSync, lstatSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { NbdPlace } from '../../vm/domain-xml.js';
import { hookScript, readHookScript } from '../../vm/hook-script.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { fetchDoor, type LibvirtOptions, libvirtOptions } from '../vm.js';

/** Puts the hook beside those that are there, and takes it away again. */
const DIRECTORY_DEFAULT = '/etc/libvirt/hooks/qemu.d';
const FILE = '50-sheepfold';

interface Options extends LibvirtOptions {
  dir?: string;
  reconnect?: boolean;
}

const directoryOption = [
  '-d, --dir <dir>',
  `where libvirt looks for hooks of QEMU (default: ${DIRECTORY_DEFAULT})`,
] as const;

export function vmHooksCommands(vm: Command, runner: Runner): void {
  const hooks = vm
    .command('hooks')
    .summary('what libvirt asks of us when domains start, move and end')
    .description(
      "Commands for the hook that libvirt calls for each domain. 'hooks/README.md' says what it does.",
    );
  addLeaf<Options>(hooks, runner, {
    usage: 'install',
    summary: 'have libvirt call us',
    details: `Puts one script beside the hooks that are there. From then on a domain with volumes starts only when the
sheep of -a and -p can serve them and nobody else uses them; a domain that comes from another host uses this host's
sheep; and disks wait for a sheep that is away (unless --no-reconnect). Domains without volumes are left alone. Install
it again when Sheepfold moves to another directory.`,
    examples: ['dog vm hooks install', 'dog vm hooks install -p 7100'],
    options: [
      directoryOption,
      ['--no-reconnect', 'do not make disks wait that libvirt before 9.2 could not make wait'],
      ...libvirtOptions,
    ],
    run: install,
  });
  addLeaf<Options>(hooks, runner, {
    usage: 'remove',
    summary: 'take the hook away again',
    examples: ['dog vm hooks remove'],
    options: [directoryOption],
    run: remove,
  });
  addLeaf<Options>(hooks, runner, {
    usage: 'status',
    summary: 'whether the hook is there and up to date',
    examples: ['dog vm hooks status'],
    options: [directoryOption],
    run: status,
  });
}

type State = { kind: 'absent' | 'foreign' } | { kind: 'ours'; madeDirectory: boolean; text: string };

function look(path: string): State {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return { kind: 'absent' };
  const script = stat.isFile() ? readHookScript(path) : undefined;
  return script === undefined ? { kind: 'foreign' } : { kind: 'ours', ...script };
}

function pathOf({ dir }: Options): string {
  return join(resolve(dir ?? DIRECTORY_DEFAULT), FILE);
}

/** The script as it would be written now. */
async function present(context: Context, options: Options, madeDirectory: boolean): Promise<string> {
  const { place } = await fetchDoor(context);
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  return hookScript({
    dog: [process.execPath, main, '-a', context.host, '-p', String(context.port)],
    words: [
      '--place',
      placeWord(place),
      ...(options.reconnect === false ? ['--no-reconnect'] : []),
      ...(options.connect === undefined ? [] : ['--connect', options.connect]),
    ],
    madeDirectory,
  });
}

export function placeWord(place: NbdPlace): string {
  return 'socket' in place ? `unix:${place.socket}` : `tcp:${place.host}:${place.port}`;
}

export function parsePlaceWord(text: string): NbdPlace {
  const unix = /^unix:(\/.*)$/s.exec(text);
  if (unix !== null) return { socket: unix[1]! };
  const tcp = /^tcp:(.+):(\d{1,5})$/.exec(text);
  if (tcp !== null) return { host: tcp[1]!, port: Number(tcp[2]) };
  throw new Exit(exitCodes.usage, `Invalid place '${text}'`);
}

async function install(context: Context, _operands: string[], options: Options): Promise<void> {
  const path = pathOf(options);
  const state = look(path);
  if (state.kind === 'foreign') {
    throw new Exit(exitCodes.exists, `${path} is not our hook: nothing was changed`);
  }
  const directory = dirname(path);
  const isNew = lstatSync(directory, { throwIfNoEntry: false }) === undefined;
  const text = await present(context, options, isNew || (state.kind === 'ours' && state.madeDirectory));
  const changed = state.kind !== 'ours' || state.text !== text;
  if (changed) put(path, text);
  if (context.json) return context.printJson({ path, changed });
  await context.printLine(changed ? `installed ${path}` : `${path} is there already`);
  if (state.kind === 'absent') {
    context.note(
      'libvirt looks for hooks when it starts and when it reloads: systemctl reload libvirtd (or virtqemud)',
    );
  }
}

/** Complete or not there: libvirt may call it at any moment. */
function put(path: string, text: string): void {
  // libvirt runs every file of the directory whose mode says that it can be run: not this one, until it is complete.
  const fresh = `${path}.new-${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(fresh, text, { flag: 'wx', mode: 0o600 });
    renameSync(fresh, path);
    chmodSync(path, 0o755);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw new Exit(exitCodes.system, `${path} cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function remove(context: Context, _operands: string[], options: Options): Promise<void> {
  const path = pathOf(options);
  const state = look(path);
  if (state.kind === 'absent') throw new Exit(exitCodes.missing, `${path} is not there`);
  if (state.kind !== 'ours') throw new Exit(exitCodes.failure, `${path} is not our hook: it stays`);
  rmSync(path);
  if (state.madeDirectory) {
    try {
      rmdirSync(dirname(path));
    } catch {
      // Others have hooks there by now.
    }
  }
  if (context.json) return context.printJson({ removed: path });
  await context.printLine(`removed ${path}`);
}

async function status(context: Context, _operands: string[], options: Options): Promise<void> {
  const path = pathOf(options);
  const state = look(path);
  const current = state.kind === 'ours' && isCurrent(state.text, await present(context, options, false));
  if (context.json) return context.printJson({ path, state: state.kind, current });
  if (state.kind === 'absent') throw new Exit(exitCodes.missing, `${path} is not there`);
  if (state.kind === 'foreign') throw new Exit(exitCodes.failure, `${path} is not our hook`);
  await context.printLine(`${path} is installed${current ? '' : ', for another sheep or another directory'}`);
  if (!current) {
    throw new Exit(exitCodes.failure, '', { hint: "'dog vm hooks install' writes it anew." });
  }
}

/** Whether both call the same program for the same sheep; what the administrator chose beside may differ. */
function isCurrent(installed: string, wanted: string): boolean {
  const [a, b] = [installed, wanted].map((text) => /^\[ -x .*$/m.exec(text)?.[0]);
  const [c, d] = [installed, wanted].map((text) => / -a \S+ -p \d+ vm hook --place \S+/.exec(text)?.[0]);
  return a === b && c === d;
}
