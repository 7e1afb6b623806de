import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Exit, exitCodes } from '../exit.js';

/**
 * The directory of a cluster that `dog cluster up` keeps on this machine.
 *
 * | path               | what                                                            |
 * |--------------------|-----------------------------------------------------------------|
 * | cluster.json       | how it was started (ClusterConfig); its presence makes it ours   |
 * | coordinator/       | the embedded coordinator; the files of etcd's TLS, when joined  |
 * | sheep0/, sheep1/.. | one sheep each: store, sheep.log, pid, sock, nbd.sock            |
 *
 * cluster.json is written before the first sheep starts and removed after the last directory, so that whatever a
 * crash leaves can still be taken down and destroyed.
 */
export interface ClusterConfig {
  readonly kind: 'sheepfold-cluster';
  readonly version: 1;
  readonly sheep: number;
  readonly port: number;
  readonly nbdPort: number;
  readonly httpPort: number;
  readonly copies: number;
  /** Address for all doors; loopback without. */
  readonly host?: string;
  /** Address on a network of its own for traffic between sheep. */
  readonly ioHost?: string;
  /** Set when this is one host of a cluster of several: `dog cluster join`. */
  readonly joined?: JoinedCluster;
  /** True when the directory itself did not exist before. */
  readonly madeDirectory: boolean;
  /** What was made inside, and what `destroy` removes: nothing else. */
  readonly directories: readonly string[];
}

export interface JoinedCluster {
  /** Address of its etcd. */
  readonly coordinator: string;
  /** Address of this host, for all doors. */
  readonly host: string;
  readonly zone: number;
  /** Holds no objects, and serves volumes only. */
  readonly gateway?: boolean;
  /** Path of its NBD socket, when that is not in its directory. */
  readonly nbdSocket?: string;
}

const CONFIG_FILE = 'cluster.json';
/** What sheep that were started with the original's `-c local` keep beside: nothing of this cluster's. */
const LOCAL_CLUSTER = 'local';
/** A path of a unix socket is at most this long on Linux. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `--dir`, else $SHEEPFOLD_HOME, else the usual place: of the system for root, of the user for others. */
export function clusterDirectory(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const chosen = option ?? env.SHEEPFOLD_HOME;
  if (chosen !== undefined && chosen !== '') return resolve(chosen);
  if (process.getuid?.() === 0) return '/var/lib/sheepfold';
  return join(env.HOME ?? homedir(), '.local', 'state', 'sheepfold');
}

export class ClusterHome {
  constructor(readonly directory: string) {}

  sheepDirectory(index: number): string {
    return join(this.directory, `sheep${index}`);
  }

  get coordinatorDirectory(): string {
    return join(this.directory, 'coordinator');
  }

  logFile(index: number): string {
    return join(this.sheepDirectory(index), 'sheep.log');
  }

  pidFile(index: number): string {
    return join(this.sheepDirectory(index), 'pid');
  }

  /** Undefined when there is no cluster here. Fails when the file is there but is not ours. */
  read(): ClusterConfig | undefined {
    const path = join(this.directory, CONFIG_FILE);
    if (!existsSync(path)) return undefined;
    const config = parseConfig(readFileSync(path, 'utf8'));
    if (config !== undefined) return config;
    throw new Exit(exitCodes.failure, `${path} was not written by 'dog cluster up'`, {
      hint: 'Choose another directory with --dir.',
    });
  }

  /** Makes the directories of a new cluster. Refuses a directory that holds something else. */
  create(config: Omit<ClusterConfig, 'kind' | 'version' | 'madeDirectory' | 'directories'>): ClusterConfig {
    this.checkSocketPath(config);
    const existed = existsSync(this.directory);
    if (existed && readdirSync(this.directory).some((name) => name !== LOCAL_CLUSTER)) {
      throw new Exit(exitCodes.failure, `${this.directory} is not empty and holds no cluster`, {
        hint: 'Choose another directory with --dir.',
      });
    }
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const sheep = Array.from({ length: config.sheep }, (_, index) => `sheep${index}`);
    const full: ClusterConfig = {
      kind: 'sheepfold-cluster',
      version: 1,
      ...config,
      madeDirectory: !existed,
      directories: ['coordinator', ...sheep],
    };
    this.write(full);
    for (const name of full.directories)
      mkdirSync(join(this.directory, name), { recursive: true, mode: 0o700 });
    return full;
  }

  /** From the next start on the sheep listen there. */
  changeHost(config: ClusterConfig, to: Pick<ClusterConfig, 'host' | 'ioHost'>): ClusterConfig {
    const changed = { ...config, ...to };
    this.write(changed);
    return changed;
  }

  private write(config: ClusterConfig): void {
    const path = join(this.directory, CONFIG_FILE);
    writeFileSync(`${path}.tmp`, `${JSON.stringify(config, undefined, 2)}\n`);
    renameSync(`${path}.tmp`, path);
  }

  /** Removes exactly what was made. */
  remove(config: ClusterConfig): void {
    for (const name of config.directories)
      rmSync(join(this.directory, name), { recursive: true, force: true });
    rmSync(join(this.directory, CONFIG_FILE), { force: true });
    rmSync(join(this.directory, `${CONFIG_FILE}.tmp`), { force: true });
    if (config.madeDirectory && readdirSync(this.directory).length === 0) rmdirSync(this.directory);
  }

  private checkSocketPath({ sheep, joined }: Pick<ClusterConfig, 'sheep' | 'joined'>): void {
    const tooLong = (path: string): boolean => Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX;
    const longest = join(this.sheepDirectory(sheep - 1), 'nbd.sock');
    if (tooLong(longest)) {
      throw new Exit(exitCodes.failure, `${dirname(longest)} is too long a path for a unix socket`, {
        hint: 'Choose a shorter directory with --dir.',
      });
    }
    if (joined?.nbdSocket !== undefined && tooLong(joined.nbdSocket))
      throw new Exit(exitCodes.usage, `${joined.nbdSocket} is too long a path for a unix socket`);
  }
}

function parseConfig(text: string): ClusterConfig | undefined {
  let config: Partial<ClusterConfig>;
  try {
    config = JSON.parse(text) as Partial<ClusterConfig>;
  } catch {
    // Somebody else's file of that name.
    return undefined;
  }
  const numbers = [config.sheep, config.port, config.nbdPort, config.httpPort, config.copies];
  const valid =
    config.kind === 'sheepfold-cluster' &&
    config.version === 1 &&
    numbers.every((value) => Number.isSafeInteger(value)) &&
    (config.joined === undefined || isJoined(config.joined)) &&
    isTextOrNothing(config.host) &&
    isTextOrNothing(config.ioHost) &&
    Array.isArray(config.directories) &&
    // These names are removed recursively: nothing but our own may stand here.
    config.directories.every((name) => /^(coordinator|sheep\d{1,4})$/.test(String(name)));
  return valid ? (config as ClusterConfig) : undefined;
}

function isJoined({ coordinator, host, zone, gateway, nbdSocket }: Partial<JoinedCluster>): boolean {
  return (
    typeof coordinator === 'string' &&
    typeof host === 'string' &&
    Number.isSafeInteger(zone) &&
    (gateway === undefined || typeof gateway === 'boolean') &&
    isTextOrNothing(nbdSocket)
  );
}

function isTextOrNothing(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}
