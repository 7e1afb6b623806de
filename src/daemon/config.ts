import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { AppError } from '../base/errors.js';
import type { LogLevel } from '../base/log-level.js';
import { isEtcdAddress } from '../coord/etcd/address.js';
import { normalAddress } from '../coord/open-coordinator.js';
import { isOriginalCommandLine, type OriginalStart, parseOriginalArguments } from './original-options.js';

/** What a sheep is started with. Ports are TCP; 0 asks the system for any, -1 leaves the door out. */
export interface SheepConfig {
  readonly dir: string;
  /** Where objects lie when not in `dir`: one directory on each disk. */
  readonly disk?: readonly string[];
  /** What a disk means that is not there: 'refuse' to start (without), or 'drop' it for good. */
  readonly missingDisk?: 'refuse' | 'drop';
  /** A directory, or an address of etcd (coord/etcd/address.ts). */
  readonly coordinator: string;
  /** The cluster that is meant: a coordinator of another one is refused. */
  readonly clusterId?: string;
  /** Address of the TCP doors, and the one told to others unless `advertise` names another. */
  readonly host: string;
  readonly advertise?: string;
  readonly port: number;
  /** Network of its own for traffic between sheep: address and port there (default: `port`). */
  readonly ioHost?: string;
  readonly ioPort?: number;
  readonly nbdPort: number;
  readonly httpPort: number;
  readonly unixSocket?: string;
  readonly nbdSocket?: string;
  readonly zone: number;
  readonly vnodes: number;
  readonly log?: string;
  readonly logLevel?: LogLevel;
  readonly pidFile?: string;
  readonly tlsMode: 'off' | 'optional' | 'require';
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly tlsPsk?: string;
  /** Depends on the coordinator without. */
  readonly leaseTtlMs?: number;
  /** Set when the command line was one of the original's. */
  readonly original?: OriginalStart;
}

/** Our own options, or those of the original when neither --dir nor --coordinator is among them. */
export function parseSheepArguments(argv: readonly string[]): SheepConfig {
  return isOriginalCommandLine(argv) ? parseOriginalArguments(argv, process.env) : parseOwnArguments(argv);
}

function parseOwnArguments(argv: readonly string[]): SheepConfig {
  const command = new Command('sheep')
    .description(
      'The storage daemon: keeps replicas of objects and serves volumes. `dog cluster up` starts it for you.',
    )
    .requiredOption('--dir <path>', 'directory of this sheep: identity and store')
    .option('--disk <path,...>', 'directories for objects, one on each disk (default: that of --dir)', paths)
    .option(
      '--missing-disk <what>',
      'a disk that is not there: refuse to start, or drop it for good (its objects come from other sheep)',
      missingDisk,
      'refuse',
    )
    .requiredOption(
      '--coordinator <where>',
      'directory that all sheep of this host share, or etcd://HOST:PORT[,HOST:PORT...]/NAME[?ca=FILE&...]',
      coordinatorAddress,
    )
    .option('--cluster-id <id>', 'refuse a coordinator that holds another cluster')
    .option('--host <address>', 'address of all TCP doors', '127.0.0.1')
    .option('--advertise <address>', 'address told to the others (default: that of --host)')
    .option('--port <port>', 'clients, dog and other sheep', port, 7000)
    .option('--io-host <address>', 'address on a network of its own for traffic between sheep')
    .option('--io-port <port>', 'port there (default: that of --port)', integer(1, 65535))
    .option('--nbd-port <port>', 'NBD over TCP; -1: none', port, 10809)
    .option('--http-port <port>', 'metrics and health; -1: none', port, 7080)
    .option('--unix-socket <path>', 'clients and dog on a unix socket')
    .option('--nbd-socket <path>', 'NBD on a unix socket')
    .option('--zone <number>', 'nodes of one zone fail together', integer(0, 0xffffffff), 0)
    .option(
      '--vnodes <number>',
      'weight in the placement of objects; 0: a gateway, holds none',
      integer(0, 65535),
      128,
    )
    .option('--log <file>', 'log file (standard error without)')
    .option('--pid-file <file>', 'where to write the process id')
    .option('--tls-mode <mode>', 'TLS for NBD: off, optional or require', tlsMode, 'off')
    .option('--tls-cert <file>', 'server certificate, PEM')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--tls-client-ca <file>', 'clients must show a certificate of this authority, PEM')
    .option('--tls-psk <file>', 'pre-shared keys: lines of user:hexkey')
    .option(
      '--lease-ttl-ms <ms>',
      'a silent sheep is excluded after this (default: 3000, with etcd 4000)',
      integer(500, 600_000),
    )
    // The caller says what was wrong, once.
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .allowExcessArguments(false);
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) process.exit(0);
    throw new AppError('usage', AppError.from(error).message);
  }
  const config = command.opts<SheepConfig>();
  if (config.ioPort !== undefined && config.ioHost === undefined)
    throw new AppError('usage', "error: option '--io-port' needs '--io-host'");
  return config;
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`an integer from ${min} to ${max} is wanted.`);
    }
    return value;
  };
}

/** The option may be repeated. */
function paths(text: string, before: readonly string[] = []): readonly string[] {
  const list = text.split(',').filter((path) => path !== '');
  if (list.length === 0) throw new InvalidArgumentError('a directory is wanted.');
  return [...before, ...list];
}

function missingDisk(text: string): SheepConfig['missingDisk'] {
  if (text === 'refuse' || text === 'drop') return text;
  throw new InvalidArgumentError('refuse or drop is wanted.');
}

function coordinatorAddress(text: string): string {
  try {
    return isEtcdAddress(text) ? normalAddress(text) : text;
  } catch (error) {
    throw new InvalidArgumentError(AppError.from(error).message);
  }
}

function port(text: string): number {
  return integer(-1, 65535)(text);
}

function tlsMode(text: string): SheepConfig['tlsMode'] {
  if (text === 'off' || text === 'optional' || text === 'require') return text;
  throw new InvalidArgumentError('off, optional or require is wanted.');
}
