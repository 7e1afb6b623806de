#!/usr/bin/env node
import { Command, InvalidArgumentError, Option } from 'commander';
import { AppError, errorKinds } from '../src/base/errors.js';
import { openLog } from '../src/base/log.js';
import { type LogLevel, parseLogLevel } from '../src/base/log-level.js';
import { Daemon } from './daemon.js';
import { install, uninstall } from './install.js';
import { userId } from './server/listener.js';

interface ServeOptions {
  readonly socket: string;
  readonly socketMode: number;
  readonly group?: string;
  readonly readonlySocket?: string;
  readonly readonlyMode: number;
  readonly user?: string[];
  readonly upstream?: string;
  readonly upstreamReadonly?: string;
  readonly configDir: string;
  readonly stateDir: string;
  readonly log?: string;
  readonly logLevel: LogLevel;
}

interface InstallOptions {
  readonly root: string;
  readonly upstream: boolean;
}

/** Only options, signals and exit codes live here. */
const program = new Command('sheepfold-pools')
  .description('What libvirt sees of a cluster: storage pools and volumes, by libvirt’s own protocol.')
  .enablePositionalOptions();

program
  .command('serve', { isDefault: true })
  .summary('serve clients of libvirt (the default)')
  .option('--socket <path>', 'unix socket to listen on', '/run/sheepfold/pools-sock')
  .addOption(modeOption('--socket-mode <mode>', 'its mode, octal: who may write to it may connect', '0600'))
  .option('--group <group>', 'group of the sockets, with a mode like 0660')
  .option('--readonly-socket <path>', 'another socket, whose clients may only look')
  .addOption(modeOption('--readonly-mode <mode>', 'its mode, octal', '0666'))
  .option('--user <name...>', 'let in only these users and root, whatever the modes say')
  .option('--upstream <path>', 'socket of the storage daemon that has the pools of other types')
  .option('--upstream-readonly <path>', 'its socket for clients that may only look')
  .option('--config-dir <path>', 'definitions of pools', '/etc/sheepfold/pools')
  .option('--state-dir <path>', 'what is started; emptied by a reboot', '/run/sheepfold/pools')
  .option('--log <file>', 'log to a file instead of standard error')
  .option('--log-level <level>', 'err, warning, info or debug', parseLevel, 'info' as LogLevel)
  .action(serve);

program
  .command('install')
  .summary('take the place of virtstoraged on a host with modular daemons')
  .option('--root <path>', 'directory that stands for the root of the host', '/')
  .option('--no-upstream', 'there is no virtstoraged to pass other pools on to')
  .action(({ root, upstream }: InstallOptions) =>
    tell(install({ root, upstream, program: process.argv[1]! })),
  );

program
  .command('uninstall')
  .summary('give virtstoraged its place back')
  .option('--root <path>', 'directory that stands for the root of the host', '/')
  .action(({ root }: { root: string }) => tell(uninstall({ root })));

async function serve(options: ServeOptions): Promise<void> {
  const { log: file, logLevel: level } = options;
  const control = openLog({ level, ...(file !== undefined && { file }) });
  const { group, readonlySocket, upstream, upstreamReadonly, user } = options;
  const daemon = await Daemon.start({
    socket: options.socket,
    socketMode: options.socketMode,
    readOnlyMode: options.readonlyMode,
    configFolder: options.configDir,
    stateFolder: options.stateDir,
    log: control.logger,
    ...(group !== undefined && { group }),
    ...(readonlySocket !== undefined && { readOnlySocket: readonlySocket }),
    ...(upstream !== undefined && { upstream }),
    ...(upstreamReadonly !== undefined && { upstreamReadOnly: upstreamReadonly }),
    ...(user !== undefined && { users: user.map(userId) }),
  });
  control.logger.info({ socket: options.socket, upstream }, 'serving');
  const stop = (): void => {
    daemon.stop();
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.on('SIGHUP', () => control.reopen());
}

function tell(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

function modeOption(flags: string, description: string, mode: string): Option {
  return new Option(flags, description).argParser(parseMode).default(parseMode(mode), mode);
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError('an octal mode like 0660 is expected');
  return Number.parseInt(text, 8);
}

function parseLevel(text: string): LogLevel {
  const level = parseLogLevel(text);
  if (level === undefined) throw new InvalidArgumentError('err, warning, info or debug is expected');
  return level;
}

program.parseAsync().catch((error: unknown) => {
  const { code, message } = AppError.from(error, 'system');
  process.stderr.write(`sheepfold-pools: ${message}\n`);
  process.exit(errorKinds[code].exit);
});
