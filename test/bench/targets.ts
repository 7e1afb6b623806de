/** What is measured: Sheepfold with three copies, and three yardsticks on the same machine in the same run. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dogMain, Launcher, type LaunchOptions } from '../helpers/launcher.js';
import { ownedProcess, within } from '../helpers/real-cluster.js';
import { runClient } from './clients.js';

/** Where a client finds the volume: an NBD URI, or a file to open itself. */
export interface Endpoint {
  readonly uri?: string;
  readonly file?: string;
  /** Another qemu-img than that of the PATH: one with the driver. */
  readonly qemuImg?: string;
  /** fio's options for it, where its engine for NBD or files is not the one. */
  readonly fio?: { readonly words: readonly string[]; readonly env: Readonly<Record<string, string>> };
  /** Why fio cannot be its client, if it cannot. */
  readonly fioMissing?: string;
}

/** Volumes beside the one that is measured, by the system's own commands. */
export interface Volumes {
  create(name: string, sizeBytes: number): Promise<void>;
  at(name: string): Endpoint;
  remove(name: string): Promise<void>;
  /** The same program with a command that only asks for the measured volume. */
  look(): Promise<void>;
}

/** Of volumes of `Volumes`. */
export interface Clones {
  snapshot(volume: string, tag: string): Promise<void>;
  clone(volume: string, tag: string, clone: string): Promise<void>;
  /** Once its clones are gone. */
  removeSnapshot(volume: string, tag: string): Promise<void>;
}

export interface Target extends Endpoint {
  readonly name: TargetName;
  /** Those that serve one file have none. */
  readonly volumes?: Volumes;
  readonly clones?: Clones;
  /** Daemons whose CPU and memory count. */
  readonly pids: readonly number[];
  /** What each of them is, in the same order. */
  readonly roles?: readonly string[];
  /** A snapshot of the volume by the system's own command; those without cannot. */
  snapshot?(tag: string): Promise<void>;
  /** The same program with a command that only asks for the volume: what a snapshot's command costs without it. */
  look?(): Promise<void>;
  stop(): Promise<void>;
}

export interface SheepfoldTarget extends Target {
  readonly cluster: Launcher;
}

export const targetNames = ['sheepfold', 'ceph', 'gluster', 'sheepdog', 'qemu-nbd', 'nbdkit', 'raw'] as const;
export type TargetName = (typeof targetNames)[number];

export const targetTitles: Record<TargetName, string> = {
  sheepfold: 'Sheepfold, 3 copies',
  ceph: 'Ceph RBD, 3 copies',
  gluster: 'GlusterFS, 3 copies',
  sheepdog: 'C Sheepdog, 3 copies',
  'qemu-nbd': 'qemu-nbd, raw file',
  nbdkit: 'nbdkit memory',
  raw: 'raw file',
};

const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;
const SHEEP = 3;
export const VOLUME = 'bench';

/** Three sheep in processes of their own, each with all of the volume; the client speaks to the first. */
export async function startSheepfold(
  sizeBytes: number,
  launch: (options: LaunchOptions) => Promise<Launcher> = (options) => Launcher.start(options),
  { sheep, copies }: { readonly sheep: number; readonly copies: number } = { sheep: SHEEP, copies: SHEEP },
): Promise<SheepfoldTarget> {
  const cluster = await launch({ sheep, copies });
  // Daemons outlive the command that starts them: they must not outlive this one.
  const kill = () => {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    rmSync(join(cluster.directory, '..'), { recursive: true, force: true });
  };
  const pids: number[] = [];
  process.once('exit', kill);
  for (let index = 0; index < sheep; index++) pids.push(cluster.pid(index)!);
  const control = await cluster.control();
  await control.call('vdi.create', { name: VOLUME, sizeBytes });
  control.close();
  const dog = async (...words: string[]): Promise<void> => {
    await runClient(process.execPath, [dogMain, 'vdi', ...words, '-p', `${cluster.port}`]);
  };
  return {
    name: 'sheepfold',
    cluster,
    pids,
    roles: pids.map(() => 'sheep'),
    uri: sheepfoldUri(cluster, VOLUME),
    snapshot: (tag) => dog('snapshot', VOLUME, '-s', tag),
    look: () => dog('info', VOLUME),
    volumes: {
      create: (name, bytes) => dog('create', name, `${bytes}`),
      at: (name) => ({ uri: sheepfoldUri(cluster, name) }),
      remove: (name) => dog('delete', name),
      look: () => dog('info', VOLUME),
    },
    clones: {
      snapshot: (volume, tag) => dog('snapshot', volume, '-s', tag),
      clone: (volume, tag, clone) => dog('clone', volume, clone, '-s', tag),
      removeSnapshot: (volume, tag) => dog('delete', volume, '-s', tag),
    },
    async stop() {
      await cluster.stop();
      process.off('exit', kill);
    },
  };
}

export function sheepfoldUri(cluster: Launcher, volume: string): string {
  return socketUri(volume, join(cluster.directory, 'sheep0', 'nbd.sock'));
}

/** The file lies where the sheep have their stores: on the disk of the temporary directory. */
export async function startQemuNbd(sizeBytes: number): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-bench-'));
  const file = rawFile(folder, sizeBytes);
  const socket = join(folder, 'sock');
  const child = daemon('qemu-nbd', [
    '-f',
    'raw',
    '--cache=writeback',
    '--discard=unmap',
    '-t',
    '-e',
    '8',
    '-k',
    socket,
    file,
  ]);
  await ready(child, socket);
  return served('qemu-nbd', child, '', socket, folder);
}

export async function startNbdkit(sizeBytes: number): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-bench-'));
  const socket = join(folder, 'sock');
  const child = daemon('nbdkit', ['--foreground', '-U', socket, 'memory', `size=${sizeBytes}`]);
  await ready(child, socket);
  return served('nbdkit', child, '', socket, folder);
}

/** No daemon at all: the client opens the file. */
export async function startRaw(sizeBytes: number): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-bench-'));
  const stop = async () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return { name: 'raw', file: rawFile(folder, sizeBytes), pids: [], volumes: rawVolumes(folder), stop };
}

function rawVolumes(folder: string): Volumes {
  const path = (name: string) => join(folder, `${name}.raw`);
  return {
    create: async (name, sizeBytes) => void rawFile(folder, sizeBytes, name),
    at: (name) => ({ file: path(name) }),
    remove: async (name) => void (await runClient('rm', [path(name)])),
    look: async () => void (await runClient('ls', [path('disk')])),
  };
}

function rawFile(folder: string, sizeBytes: number, name = 'disk'): string {
  const file = join(folder, `${name}.raw`);
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  return file;
}

function daemon(command: string, words: readonly string[]): ChildProcess {
  return ownedProcess(spawn(command, words, { stdio: ['ignore', 'ignore', 'inherit'] }));
}

async function ready(child: ChildProcess, socket: string): Promise<void> {
  await within(START_DEADLINE_MS, `${child.spawnfile} listens`, () => {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    return existsSync(socket);
  });
}

function served(
  name: TargetName,
  child: ChildProcess,
  volume: string,
  socket: string,
  folder: string,
): Target {
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  return {
    name,
    uri: socketUri(volume, socket),
    pids: [child.pid!],
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
      if (child.exitCode === null && child.signalCode === null) await ended;
      clearTimeout(timer);
      remove();
    },
  };
}

function socketUri(volume: string, socket: string): string {
  return `nbd+unix:///${encodeURIComponent(volume)}?socket=${socket}`;
}
