import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { Command, CommanderError } from 'commander';
import { sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { createLogger, type Logger } from '../base/log.js';
import type { ControlAddress } from '../control/client.js';
import { isDeadMount, mountDevice, setReadAhead, unmount } from '../fuse/device.js';
import { Session } from '../fuse/session.js';
import { SHEEPDOG_PORT } from '../wire/sheepdog.js';
import { ClusterLink } from './cluster-link.js';
import { CLOSED_POLL_MS, READ_AHEAD_BYTES } from './limits.js';
import { Mount } from './mount.js';

interface Options {
  address: string;
  port: string;
  socket?: string;
  mode: string;
  uid: string;
  gid: string;
  private?: boolean;
  log?: string;
}

export interface RunningMount {
  /** Unmounts; what is open in it is served until it is closed. */
  stop(): Promise<void>;
  /** Resolves when it is unmounted. */
  readonly ended: Promise<void>;
}

const details = `
Working volumes are files in MOUNTPOINT, snapshots are files in MOUNTPOINT/.snapshots/VOLUME. The process stays in the
foreground until it is unmounted (umount MOUNTPOINT, or SIGTERM). While the sheep is away, programs wait.

Example:
  sheepfs /mnt/volumes &
  virsh pool-define-as volumes dir --target /mnt/volumes`;

/** Mounts, says so on `output`, and serves. Undefined: only help was asked for. Rejects with AppError. */
export async function runSheepfs(
  argv: readonly string[],
  output: Writable,
): Promise<RunningMount | undefined> {
  const parsed = parse(argv);
  if (parsed === undefined) return undefined;
  const { mountpoint, options } = parsed;
  const debugAreas = (process.env.SHEEPFOLD_DEBUG ?? '').split(',').filter((area) => area !== '');
  const log = createLogger({ debugAreas, ...(options.log !== undefined && { file: options.log }) });
  const link = new ClusterLink(addressOf(options), systemClock, log.child('link'));
  const running = await start(mountpoint, options, link, log.child('fuse'));
  output.write(`mounted on ${mountpoint}\n`);
  return running;
}

async function start(
  mountpoint: string,
  options: Options,
  link: ClusterLink,
  log: Logger,
): Promise<RunningMount> {
  const defaults = {
    mode: octal(options.mode),
    uid: count(options.uid, '--uid'),
    gid: count(options.gid, '--gid'),
  };
  const mount = new Mount({ cluster: link, clock: systemClock, defaults }, mountpoint);
  // The end of an earlier process here: its mount is in the way, and nobody can use it.
  if (isDeadMount(mountpoint)) await unmount(mountpoint, { lazy: true });
  await mount.sweep(log);
  const fd = mountDevice(mountpoint, { allowOther: options.private !== true });
  const session = new Session({ fd, handlers: mount.handlers, clock: systemClock, log });
  session.start();
  setReadAhead(mountpoint, READ_AHEAD_BYTES);
  const ended = session.ended.then(() => link.close());
  const stop = async (): Promise<void> => {
    await mount.saveAll().catch((error: unknown) => log.warn({ err: error }, 'not everything is saved'));
    if (!(await unmount(mountpoint, { lazy: false }))) await unmount(mountpoint, { lazy: true });
    // Namespaces of containers and services may have a copy of the mount, in which case the kernel does not end it.
    while (mount.handles.count > 0) await sleep(systemClock, CLOSED_POLL_MS);
    session.close();
  };
  return { ended, stop };
}

function parse(argv: readonly string[]): { mountpoint: string; options: Options } | undefined {
  const command = new Command('sheepfs')
    .description('Mounts the volumes of a Sheepfold cluster as files.')
    .argument('<mountpoint>', 'an existing folder')
    .option('-a, --address <host>', 'the sheep to talk to', '127.0.0.1')
    .option('-p, --port <port>', 'its port', String(SHEEPDOG_PORT))
    .option('--socket <path>', 'its unix socket, instead of both')
    .option('--mode <octal>', 'of volumes that were never a file', '0644')
    .option('--uid <number>', 'their owner', '0')
    .option('--gid <number>', 'their group', '0')
    .option('--private', 'only for the user who mounts')
    .option('--log <file>', 'append the log to a file (default: standard error)')
    .addHelpText('after', details)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new AppError('usage', error.message.replace(/^error: /, ''));
  }
  return { mountpoint: resolve(command.args[0]!), options: command.opts() };
}

function addressOf({ socket, address, port }: Options): ControlAddress {
  if (socket !== undefined) return { path: socket };
  return { host: address, port: count(port, '--port') };
}

function count(text: string, what: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new AppError('usage', `${what} must be a number`);
  return Number(text);
}

function octal(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new AppError('usage', '--mode must be three octal digits');
  return Number.parseInt(text, 8);
}
