import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import type { LockInfo } from '../../control/api.js';
import { vdiRef } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

/** Who has which volume open. */
export function vdiLockCommands(parent: Command, runner: Runner): void {
  const lock = parent
    .command('lock')
    .summary('who has which volume open')
    .description('Looks at the locks of volumes.');
  addLeaf(lock, runner, {
    usage: 'list',
    summary: 'list volumes that are open, and by whom',
    details: 'Raw lines: FLAG NAME SNAPID VID TAG OWNER..., each owner as HOST:PORT[:STATE].',
    examples: ['dog vdi lock list'],
    run: list,
  });
  addLeaf<{ snapshot?: string }>(lock, runner, {
    usage: 'unlock <name>',
    summary: 'take the lock of a volume away from its owner',
    details: 'For an owner that is gone for good and whose lock has not ended by itself.',
    examples: ['dog vdi lock unlock first'],
    options: [['-s, --snapshot <snapshot>', 'of this snapshot, by tag or id']],
    run: unlock,
  });
}

async function list(context: Context): Promise<void> {
  if (!context.raw && !context.json) {
    await context.printLine('  Name         Id  VDI id  Tag            Owner node(s)');
  }
  const locks = await context.call('vdi.locks', {}).catch((error: unknown) => {
    if (AppError.isCode(error, 'wait-for-format')) return [];
    throw error;
  });
  locks.sort((a, b) => a.vid - b.vid);
  if (context.json) return context.printJson(locks);
  await context.print(locks.map((lock) => `${context.raw ? rawRow(lock) : row(lock)}\n`).join(''));
}

function row({ name, snapId, vid, tag, owners }: LockInfo): string {
  const flag = snapId === 0 ? ' ' : 's';
  const who = owners.map(
    ({ host, port, state }) =>
      `${family(host)} ip:${host} port:${port}${state === undefined ? '' : `(${state})`}`,
  );
  const left = `${flag} ${name.padEnd(8)} ${String(snapId).padStart(6)} ${vid.toString(16).padStart(7)}`;
  return `${left}  ${tag.padEnd(13)}  ${who.join(' ')}`;
}

function rawRow({ name, snapId, vid, tag, owners }: LockInfo): string {
  const who = owners.map(
    ({ host, port, state }) => `${host}:${port}${state === undefined ? '' : `:${state}`}`,
  );
  const escaped = name.replace(/[\s\\]/g, '\\$&');
  return [snapId === 0 ? '=' : 's', escaped, snapId, vid.toString(16), tag, ...who].join(' ');
}

function family(host: string): string {
  return host.includes(':') ? 'IPv6' : 'IPv4';
}

async function unlock(context: Context, [name]: string[], options: { snapshot?: string }): Promise<void> {
  const ref = vdiRef(name!, options.snapshot);
  const vdi = await context.call('vdi.info', ref).catch((error: unknown) => {
    throw refusal(`Failed to find VDI ${name}`, error);
  });
  await context.call('vdi.unlock', ref).catch((error: unknown) => {
    if (!AppError.isCode(error, 'missing')) throw refusal(`Failed to unlock VDI ${name}`, error);
    throw new Exit(exitCodes.failure, `VDI ${name} (vid=${vdi.vid.toString(16)}) is not locked`);
  });
  if (context.json) await context.printJson({});
}
