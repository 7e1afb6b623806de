import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { AppError } from '../base/errors.js';
import { type LogLevel, parseLogLevel } from '../base/log-level.js';
import type { SheepConfig } from './config.js';
import { localClusterDirectory } from './local-cluster.js';

/**
 * The command line of the original's sheep (reference, section 7.13): `sheep [options] meta[,disk...]`. Start scripts
 * and shell tests say `sheep /store/0 -z 0 -p 7000 -c local`; this turns it into our own configuration.
 *
 * Options that tuned the original's inner works are accepted, and said once when they change nothing. What would
 * change where data lies or who is asked, and cannot be done, is refused.
 */
export const SHEEPDOG_PORT = 7000;
const NBD_PORT = 10809;
const HTTP_PORT = 7080;
const PORT_MAX = 65535;
const JOURNAL_BYTES_MIN = 64 * 2 ** 20;

/** What only a sheep has that was started with the original's options. */
export interface OriginalStart {
  /** The original leaves the terminal unless it is told to stay. */
  readonly background: boolean;
  /** The command line as `ps` and `pkill -f` shall see it. */
  readonly title: string;
  /** Options that change nothing here, in words. */
  readonly notices: readonly string[];
  /** Directory of the cluster of this host that `-c local` means. */
  readonly localDirectory: string;
}

interface Parsed {
  bindaddr?: string;
  cluster: string;
  foreground?: boolean;
  gateway?: boolean;
  ioaddr?: string;
  journal?: string;
  log?: string;
  nosync?: boolean;
  port: string;
  pidfile?: string;
  http?: string;
  recovery?: string;
  vnodes?: string;
  myaddr?: string;
  zone?: string;
}

/** Our own command line always names the directory or the coordinator. */
export function isOriginalCommandLine(argv: readonly string[]): boolean {
  return !argv.some((word) => /^--(dir|coordinator)(=|$)/.test(word));
}

/** Throws AppError 'usage' in getopt's words; ends the process for -h and -v. */
export function parseOriginalArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): SheepConfig {
  const command = originalCommand();
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) process.exit(0);
    throw usage(getoptText(error));
  }
  const paths = command.args[0];
  if (paths === undefined) {
    throw usage("no directory for the store: 'sheep DIR', for example 'sheep /var/lib/sheepfold/0 -c local'");
  }
  return configOf(paths, command.opts<Parsed>(), argv, env);
}

function originalCommand(): Command {
  return new Command('sheep')
    .description(
      "The storage daemon, with the original's options. `dog cluster up` starts a cluster for you.",
    )
    .argument(
      '[meta[,disk...]]',
      'directory of this sheep: identity, log, sockets; and where its objects lie',
    )
    .version('Sheepfold daemon version 0.1.0', '-v, --version', 'print the version')
    .option('-b, --bindaddr <ip>', 'address of all TCP doors (default: 127.0.0.1)')
    .option('-c, --cluster <driver>', 'local[:DIR]: all sheep of this host that name the same', 'local')
    .option('-D, --directio', 'accepted')
    .option('-f, --foreground', 'stay in the foreground')
    .option('-g, --gateway', 'gateway only: hold no objects')
    .option(
      '-i, --ioaddr <host=,port=>',
      'address and port on a network of its own for traffic between sheep',
    )
    .option('-j, --journal <size=,dir=,skip>', 'accepted: there is always a journal')
    .option('-l, --log <dir=,level=,format=,dst=>', 'where to log, and how much')
    .option('-n, --nosync', 'accepted: what is acknowledged is always kept')
    .option('-p, --port <port>', 'clients, dog and other sheep', String(SHEEPDOG_PORT))
    .option('-P, --pidfile <file>', 'where to write the process id')
    .option('-r, --http <options>', 'accepted: there is no object gateway (Swift)')
    .option('-R, --recovery <max=,interval=>', 'accepted: catching up paces itself')
    .option('-u, --upgrade', 'accepted: stores upgrade themselves')
    .option('-V, --vnodes <number>', 'weight in the placement of objects (default: 128)')
    .option('-w, --wq-threads <counts>', 'accepted')
    .option('-W, --wildcard-recovery', 'accepted')
    .option('-x, --max-dynamic-threads <number>', 'accepted')
    .option('-y, --myaddr <ip>', 'address told to the others')
    .option('-z, --zone <id>', 'sheep of one zone fail together (default: from the address)')
    .helpOption('-h, --help', 'this text')
    .addHelpText('after', '\nSheepfold has options of its own: sheep --dir DIR --coordinator DIR --help\n')
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .allowExcessArguments(false);
}

function configOf(
  paths: string,
  options: Parsed,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): SheepConfig {
  const { dir, disks } = directories(paths);
  const port = portNumber(options.port);
  const host = address(options.bindaddr, 'bind address') ?? address(options.myaddr, 'address') ?? '127.0.0.1';
  const advertise = address(options.myaddr, 'address') ?? (isWildcard(host) ? '127.0.0.1' : host);
  const localDirectory = driverDirectory(options.cluster, env);
  const log = logOptions(options.log, dir);
  const vnodes = options.vnodes === undefined ? 128 : count(options.vnodes, 'number of vnodes', 1, 65535);
  return {
    dir,
    ...(disks.length > 0 && { disk: disks }),
    coordinator: join(localDirectory, 'coordinator'),
    host,
    ...(advertise !== host && { advertise }),
    port,
    ...ioAddress(options.ioaddr, port),
    nbdPort: neighbour(NBD_PORT, port),
    httpPort: neighbour(HTTP_PORT, port),
    unixSocket: join(dir, 'sock'),
    nbdSocket: join(dir, 'nbd.sock'),
    zone: options.zone === undefined ? zoneOf(advertise) : count(options.zone, 'zone id', 0, 0xffffffff),
    vnodes: options.gateway === true ? 0 : vnodes,
    ...log.config,
    ...(options.pidfile !== undefined && { pidFile: resolve(options.pidfile) }),
    tlsMode: 'off',
    original: {
      background: options.foreground !== true,
      title: ['sheep', ...argv].join(' '),
      notices: [...notices(options), ...log.notices],
      localDirectory,
    },
  };
}

/** The first path is for identity, log and sockets; objects are on the others, or with it when there are none. */
function directories(paths: string): { dir: string; disks: string[] } {
  const [meta, ...disks] = paths.split(',').filter((path) => path !== '');
  if (meta === undefined) throw usage(`no directory in '${paths}'`);
  return { dir: resolve(meta), disks: disks.map((path) => resolve(path)) };
}

function ioAddress(text: string | undefined, port: number): { ioHost?: string; ioPort?: number } {
  if (text === undefined) return {};
  const fields = keyValues(text, ['host', 'port'], '-i');
  const ioHost = address(fields.host, 'I/O address');
  if (ioHost === undefined) throw usage(`-i needs an address, as in '-i host=10.0.0.1': '${text}'`);
  return { ioHost, ioPort: fields.port === undefined ? port : portNumber(fields.port) };
}

/** Sheep of one host get doors side by side, as their ports are. -1, no such door, where that leads nowhere. */
function neighbour(base: number, port: number): number {
  const derived = base + (port - SHEEPDOG_PORT);
  return derived >= 1 && derived <= PORT_MAX ? derived : -1;
}

/** The last four bytes of the address as the original reads them, so that each host is a zone of its own. */
function zoneOf(host: string): number {
  const parts = host.split('.').map(Number);
  if (parts.length !== 4) return 0;
  return Buffer.from(parts).readUInt32LE(0);
}

function driverDirectory(text: string, env: Readonly<Record<string, string | undefined>>): string {
  const [driver, ...rest] = text.split(':');
  if (driver === 'local') return localClusterDirectory(rest.join(':'), env);
  throw usage(
    `the cluster driver '${driver}' is not available: use '-c local' for the sheep of one host ` +
      "('-c local:DIR' when there are several clusters on it)",
  );
}

function notices(options: Parsed): string[] {
  const list: string[] = [];
  if (options.journal !== undefined) list.push(...journalNotices(options.journal));
  if (options.nosync) list.push('-n changes nothing: what is acknowledged is always kept');
  if (options.http !== undefined) list.push('-r changes nothing: there is no object gateway (Swift)');
  if (options.recovery !== undefined) list.push('-R changes nothing: catching up paces itself');
  return list;
}

function journalNotices(text: string): string[] {
  const { size, dir } = keyValues(text, ['size', 'dir', 'skip'], '-j');
  const bytes = size === undefined ? undefined : sizeBytes(size);
  if (bytes === undefined) throw usage(`-j needs a size, as in '-j size=64M': '${text}'`);
  if (bytes < JOURNAL_BYTES_MIN) throw usage(`invalid size '${size}': a journal has at least 64M`);
  return dir === undefined ? [] : ['-j dir= changes nothing: the journal lies in the store'];
}

function logOptions(
  text: string | undefined,
  dir: string,
): { config: { log?: string; logLevel?: LogLevel }; notices: string[] } {
  const file = (folder: string): string => join(folder, 'sheep.log');
  if (text === undefined) return { config: { log: file(dir) }, notices: [] };
  // Before 0.9 the option took the level alone.
  if (!text.includes('=')) return { config: { log: file(dir), logLevel: level(text) }, notices: [] };
  const fields = keyValues(text, ['dir', 'level', 'format', 'dst'], '-l');
  const list: string[] = [];
  if (fields.dst === 'syslog') list.push('-l dst=syslog is not available: the log goes to a file');
  return {
    config: {
      ...(fields.dst !== 'stdout' && { log: file(resolve(fields.dir ?? dir)) }),
      ...(fields.level !== undefined && { logLevel: level(fields.level) }),
    },
    notices: list,
  };
}

function level(text: string): LogLevel {
  const found = parseLogLevel(text);
  if (found !== undefined) return found;
  throw usage(
    `invalid log level '${text}': emerg, alert, crit, err, warning, notice, info, debug, or 0 to 7`,
  );
}

/** `a=1,b=2,c` as a record; a key without a value is ''. */
function keyValues(
  text: string,
  known: readonly string[],
  option: string,
): Record<string, string | undefined> {
  const result: Record<string, string> = {};
  for (const part of text.split(',')) {
    const [key, ...value] = part.split('=');
    if (!known.includes(key!))
      throw usage(`${option}: invalid parameter '${part}': ${known.join(', ')} are known`);
    result[key!] = value.join('=');
  }
  return result;
}

function sizeBytes(text: string): number | undefined {
  const match = /^(\d+)([KMGT]?)B?$/i.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * 1024 ** ' KMGT'.indexOf((match[2] || ' ').toUpperCase());
}

function address(text: string | undefined, what: string): string | undefined {
  if (text === undefined || isIP(text) !== 0) return text;
  throw usage(`invalid ${what} '${text}': an IP address is wanted`);
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function portNumber(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= PORT_MAX) return port;
  throw usage(`invalid port number '${text}'`);
}

function count(text: string, what: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw usage(`invalid ${what} '${text}': an integer from ${min} to ${max} is wanted`);
}

function usage(message: string): AppError {
  return new AppError('usage', `${message}\nTry 'sheep --help' for more information.`);
}

/** commander's complaints in the words of getopt. */
function getoptText(error: unknown): string {
  if (!(error instanceof CommanderError)) return AppError.from(error).message;
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? '';
  const letter = /^-(\w)/.exec(quoted)?.[1];
  if (error.code === 'commander.unknownOption') {
    return letter === undefined ? `unrecognized option '${quoted}'` : `invalid option -- '${letter}'`;
  }
  if (error.code === 'commander.optionMissingArgument') {
    return `option requires an argument -- '${letter ?? quoted}'`;
  }
  return error.message.replace(/^error: /, '');
}
