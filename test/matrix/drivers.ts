/** The columns of the matrix: clients with their commands and the names they give to volumes. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oldQemu } from '../helpers/old-qemu.js';
import type { RealCluster } from '../helpers/real-cluster.js';
import { hasTool } from '../helpers/requires.js';
import { Tgt } from '../helpers/tgt.js';
import { IoSession } from './io-session.js';
import { mustRun } from './run.js';

export const columnKeys = ['old', 'nbd', 'helper', 'tgt'] as const;
export type Column = (typeof columnKeys)[number];

/** A volume, or a snapshot of it, as a client is told of it. */
export interface Target {
  /** For qemu-img. */
  readonly url: string;
  /** For qemu-io. */
  readonly words: readonly string[];
  /** The value of an emulator's `-drive`, without the guest's side. */
  readonly drive: string;
}

/** A client of one cluster. */
export interface Driver {
  readonly column: Column;
  /** The emulator of this client. */
  readonly system: readonly string[];
  /**
   * Names a volume, reached by one of the sheep: the second one unless told otherwise.
   */
  target(volume: string, options?: TargetOptions): Promise<Target>;
  /** Closes what target() opened, where naming a volume opens it (iSCSI); else does nothing. */
  release(target: Target): Promise<void>;
  img(...words: string[]): Promise<string>;
  /** One run of qemu-io. */
  io(target: Target, ...commands: string[]): Promise<string>;
  /** A qemu-io that stays. */
  session(target: Target): Promise<IoSession>;
  close(): Promise<void>;
}

export interface TargetOptions {
  readonly tag?: string;
  readonly sheep?: number;
  /** What the volume's bytes are to the client; `sheepdog` is raw with no layer over it. */
  readonly format?: 'raw' | 'qcow2' | 'sheepdog';
}

interface Definition {
  readonly title: string;
  /** What has to be installed or built for it. */
  missing(): string | undefined;
}

const NEW_TOOLS = ['qemu-img', 'qemu-io', 'qemu-system-x86_64'];

export const columns: Readonly<Record<Column, Definition>> = {
  old: {
    title: 'QEMU 5.2, `sheepdog:`',
    missing: () => (oldQemu() === undefined ? 'the old QEMU: scripts/old-qemu.sh' : undefined),
  },
  nbd: { title: 'QEMU 7.2, NBD', missing: () => absent(NEW_TOOLS) },
  helper: {
    title: 'QEMU 7.2, helper commands on `sheepdog:`',
    missing: () =>
      absent(NEW_TOOLS) ?? (helper('sheepdog-qemu-img') === undefined ? 'sheepdog-qemu-img' : undefined),
  },
  tgt: {
    title: 'tgt, libiscsi',
    missing: () => absent([...NEW_TOOLS, 'iscsi-ls']) ?? (Tgt.installed() ? undefined : 'tgtd'),
  },
};

function absent(tools: readonly string[]): string | undefined {
  const missing = tools.filter((tool) => !hasTool(tool));
  return missing.length === 0 ? undefined : missing.join(', ');
}

type HelperName = 'sheepdog-qemu' | 'sheepdog-qemu-img' | 'sheepdog-qemu-io';

/** A compiled helper command, found by its name in package.json. */
function helper(tool: HelperName): string | undefined {
  // This file is compiled to <root>/test/matrix, and package.json names the programs as of dist/.
  const compiled = fileURLToPath(new URL('../../', import.meta.url));
  let folder = compiled;
  while (!existsSync(join(folder, 'package.json')) && folder !== '/') folder = join(folder, '..');
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const path: string | undefined = bin[tool];
  if (path === undefined) return undefined;
  const found = join(compiled, path.replace(/^dist\//, ''));
  return existsSync(found) ? found : undefined;
}

/** A client for one cell; `close` ends what it started. */
export async function openDriver(column: Column, cluster: RealCluster): Promise<Driver> {
  switch (column) {
    case 'old': {
      const { img, io, system } = oldQemu()!;
      return driver(column, { img: [img], io: [io], system: [system] }, named(cluster, sheepdogUrl));
    }
    case 'helper': {
      const words = (tool: HelperName) => [process.execPath, helper(tool)!];
      const programs = {
        img: words('sheepdog-qemu-img'),
        io: words('sheepdog-qemu-io'),
        system: [...words('sheepdog-qemu'), ...newPrograms.system],
      };
      return driver(column, programs, named(cluster, sheepdogUrl));
    }
    case 'nbd':
      return driver(column, newPrograms, (volume, options) => nbdTarget(cluster, volume, options));
    case 'tgt':
      return tgtDriver(cluster);
  }
}

interface Programs {
  readonly img: readonly string[];
  readonly io: readonly string[];
  readonly system: readonly string[];
}

const newPrograms: Programs = { img: ['qemu-img'], io: ['qemu-io'], system: ['qemu-system-x86_64'] };

type Naming = (volume: string, options: TargetOptions) => Promise<Target>;

function driver(
  column: Column,
  programs: Programs,
  target: Naming,
  ends: { release?: (target: Target) => Promise<void>; close?: () => Promise<void> } = {},
): Driver {
  const sessions: IoSession[] = [];
  const ioWords = (named: Target) => [...programs.io, '-d', 'unmap', ...named.words];
  return {
    column,
    system: programs.system,
    target: (volume, options = {}) => target(volume, options),
    release: async (named) => ends.release?.(named),
    img: (...words) => mustRun([...programs.img, ...words]),
    async io(named, ...commands) {
      return mustRun([...ioWords(named), ...commands.flatMap((command) => ['-c', command])]);
    },
    async session(named) {
      const session = await IoSession.start(ioWords(named));
      sessions.push(session);
      return session;
    },
    async close() {
      await Promise.all(sessions.map((session) => session.stop()));
      await ends.close?.();
    },
  };
}

function byUrl(url: string, format: string): Target {
  return { url, words: ['-f', format, url], drive: `file=${url},format=${format}` };
}

/** A cluster's volumes under URLs that need no other word. */
function named(cluster: RealCluster, urlOf: (port: number, volume: string, tag?: string) => string): Naming {
  return async (volume, { tag, sheep = 1, format = 'raw' }) =>
    byUrl(urlOf(cluster.sheep[sheep]!.port, volume, tag), format);
}

function sheepdogUrl(port: number, volume: string, tag?: string): string {
  return `sheepdog:127.0.0.1:${port}:${volume}${tag === undefined ? '' : `:${tag}`}`;
}

async function nbdTarget(
  cluster: RealCluster,
  volume: string,
  { tag, sheep = 1, format = 'raw' }: TargetOptions,
): Promise<Target> {
  const name = tag === undefined ? volume : `${volume}@${tag}`;
  const server = cluster.sheep[sheep]!;
  const file = ['driver=nbd', 'server.type=inet', 'server.host=127.0.0.1', `server.port=${server.nbdPort}`];
  // A URL cannot ask for patience with a gateway that restarts.
  file.push(`export=${name}`, 'reconnect-delay=60', 'discard=unmap');
  const options = [`driver=${format}`, ...file.map((option) => `file.${option}`)].join(',');
  return { url: server.uri(name), words: ['--image-opts', options], drive: options };
}

/** iSCSI: each volume becomes a target of a tgtd of this cell's own. */
async function tgtDriver(cluster: RealCluster): Promise<Driver> {
  const tgt = await Tgt.start();
  return driver(
    'tgt',
    newPrograms,
    async (volume, { tag, sheep = 1, format = 'raw' }) => {
      if (tag !== undefined) throw new Error('tgt knows no tags');
      const { port } = cluster.sheep[sheep]!;
      return byUrl(await tgt.export({ host: '127.0.0.1', port, vdi: volume }), format);
    },
    { release: (target) => tgt.remove(target.url), close: () => tgt.stop() },
  );
}
