import type { Command } from 'commander';
import { addressArgument, copiesArgument, countArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { bringDown } from '../local/down.js';
import { type ClusterConfig, ClusterHome, clusterDirectory } from '../local/home.js';
import { bringUp, checkPorts, sheepOf, type UpResult } from '../local/up.js';
import { confirm } from '../prompt.js';

/** A cluster on this machine, in one directory: up, down, destroy. */
const directoryOption = [
  '--dir <directory>',
  'where the cluster lives (default: $SHEEPFOLD_HOME, else /var/lib/sheepfold or ~/.local/state/sheepfold)',
] as const;

interface UpOptions {
  dir?: string;
  sheep?: string;
  nbdPort?: string;
  httpPort?: string;
  copies?: string;
  host?: string;
  ioHost?: string;
}

export function localClusterCommands(parent: Command, runner: Runner): void {
  addLeaf<UpOptions>(parent, runner, {
    usage: 'up',
    summary: 'start a cluster on this machine',
    details: `Makes the directory, starts the sheep in the background, formats the cluster if it is new. Run again, it
starts what is not running and changes nothing else. Sheep i listens on PORT + i, NBD-PORT + i, HTTP-PORT + i
(-p, --port sets PORT), on loopback unless --host says otherwise. Give it an address of the network before other hosts
join (--host, when the cluster is down): then whoever reaches that address reaches the volumes.`,
    examples: [
      'dog cluster up',
      'dog cluster up --sheep 5 --dir /tmp/fold -p 7100 --nbd-port 10900 --http-port 7180',
    ],
    options: [
      ['--sheep <count>', 'how many sheep (default: 3)'],
      directoryOption,
      ['--host <address>', 'address of this host for all doors (default: 127.0.0.1)'],
      ['--io-host <address>', 'its address on a network of its own for traffic between sheep'],
      ['--nbd-port <port>', 'first NBD port (default: 10809)'],
      ['--http-port <port>', 'first port for metrics and health (default: 7080)'],
      ['--copies <copies>', 'copies of each object (default: 3, or one per sheep if there are fewer)'],
    ],
    run: up,
  });
  addLeaf<{ dir?: string }>(parent, runner, {
    usage: 'down',
    summary: "stop the cluster that 'dog cluster up' started; data stays",
    examples: ['dog cluster down', 'dog cluster up   # goes on where it stopped'],
    options: [directoryOption],
    run: down,
  });
  addLeaf<{ dir?: string; yes?: boolean }>(parent, runner, {
    usage: 'destroy',
    summary: "stop the cluster that 'dog cluster up' started and remove it with all its volumes",
    details: 'Removes exactly the directories that were made for it.',
    examples: ['dog cluster destroy', 'dog cluster destroy --yes'],
    options: [directoryOption, ['-y, --yes', 'do not ask']],
    run: destroy,
  });
}

function openHome(context: Context, options: { dir?: string }): ClusterHome {
  return new ClusterHome(clusterDirectory(options.dir, context.io.env));
}

function existing(home: ClusterHome): ClusterConfig {
  const config = home.read();
  if (config !== undefined) return config;
  throw new Exit(exitCodes.failure, `There is no cluster in ${home.directory}`, {
    hint: "Start one with 'dog cluster up', or say where it is with --dir.",
  });
}

async function up(context: Context, _operands: string[], options: UpOptions): Promise<void> {
  const home = openHome(context, options);
  const known = home.read();
  if (known !== undefined) checkSame(context, home, known, options);
  const config =
    known === undefined ? home.create(newConfig(context, options)) : withHost(home, known, options);
  try {
    await checkPorts(home, config);
  } catch (error) {
    // Nothing has started: what was made now would only refuse the other ports of the next try.
    if (known === undefined) home.remove(config);
    throw error;
  }
  const result = await bringUp(home, config, context.io.env);
  if (context.json) return context.printJson(summary(context, home, config, result));
  await context.print(await report(context, home, config, result));
}

function newConfig(context: Context, options: UpOptions) {
  const sheep = countArgument(options.sheep ?? '3', 'number of sheep', 1, 64);
  const copies = options.copies === undefined ? Math.min(3, sheep) : copiesArgument(options.copies);
  if (copies > sheep) {
    throw new Exit(exitCodes.usage, `Number of copies (${copies}) is larger than number of sheep (${sheep})`);
  }
  const lastPort = 65536 - sheep;
  return {
    sheep,
    copies,
    port: countArgument(String(context.port), 'port', 1, lastPort),
    nbdPort: countArgument(options.nbdPort ?? '10809', 'NBD port', 1, lastPort),
    httpPort: countArgument(options.httpPort ?? '7080', 'HTTP port', 1, lastPort),
    ...addresses(options),
  };
}

/** The addresses that were given, checked. */
function addresses({ host, ioHost }: { host?: string | undefined; ioHost?: string | undefined }) {
  return {
    ...(host !== undefined && { host: addressArgument(host) }),
    ...(ioHost !== undefined && { ioHost: addressArgument(ioHost) }),
  };
}

/** Another address counts from the next start on: sheep that run cannot move. */
function withHost(home: ClusterHome, config: ClusterConfig, options: UpOptions): ClusterConfig {
  const known = { host: config.joined?.host ?? config.host ?? '127.0.0.1', ioHost: config.ioHost };
  const { host = known.host, ioHost = known.ioHost } = options;
  if (host === known.host && ioHost === known.ioHost) return config;
  const problem =
    config.joined !== undefined
      ? 'This host joined its cluster with another address'
      : sheepOf(home, config).some((one) => one.pid() !== undefined)
        ? 'Sheep run: their address changes when they are stopped'
        : undefined;
  if (problem === undefined) return home.changeHost(config, addresses({ host, ioHost }));
  throw new Exit(exitCodes.failure, problem, { hint: "'dog cluster down' first." });
}

/** A cluster keeps what it was made with; an option that says otherwise must not be ignored silently. */
function checkSame(context: Context, home: ClusterHome, config: ClusterConfig, options: UpOptions): void {
  const wanted: [string, string | undefined, number][] = [
    ['--sheep', options.sheep, config.sheep],
    ['--port', context.portGiven ? String(context.port) : undefined, config.port],
    ['--nbd-port', options.nbdPort, config.nbdPort],
    ['--http-port', options.httpPort, config.httpPort],
    ['--copies', options.copies, config.copies],
  ];
  for (const [option, text, value] of wanted) {
    if (text === undefined || Number(text) === value) continue;
    throw new Exit(exitCodes.failure, `The cluster in ${home.directory} was made with ${option} ${value}`, {
      hint: `Leave the option out, choose another --dir, or remove it first: 'dog cluster destroy'.`,
    });
  }
}

function summary(context: Context, home: ClusterHome, config: ClusterConfig, result: UpResult) {
  return {
    directory: home.directory,
    isDefaultDirectory: isDefault(context, home),
    copies: config.copies,
    formatted: result.formatted,
    started: result.started.map((one) => one.index),
    sheep: result.sheep.map((one) => ({
      index: one.index,
      pid: one.pid(),
      port: one.port,
      nbdPort: one.nbdPort,
      httpPort: one.httpPort,
      log: one.logFile,
    })),
  };
}

/** True when the same environment finds this cluster without --dir. */
function isDefault(context: Context, home: ClusterHome): boolean {
  return home.directory === clusterDirectory(undefined, context.io.env);
}

/** The options that another `dog` needs to reach this cluster; empty for the defaults. */
function reachOptions(context: Context, home: ClusterHome, config: ClusterConfig) {
  return {
    dir: isDefault(context, home) ? '' : ` --dir ${home.directory}`,
    port: `${config.host === undefined ? '' : ` -a ${config.host}`}${config.port === 7000 ? '' : ` -p ${config.port}`}`,
  };
}

async function report(
  context: Context,
  home: ClusterHome,
  config: ClusterConfig,
  result: UpResult,
): Promise<string> {
  const { dir, port } = reachOptions(context, home, config);
  const state =
    result.started.length === 0
      ? 'runs already'
      : result.started.length === config.sheep
        ? 'runs'
        : `runs again (sheep ${result.started.map((one) => one.index).join(', ')} restarted)`;
  const rows = result.sheep.map(
    (one) =>
      `  sheep ${one.index}   port ${one.port}   nbd ${one.nbdPort}   http ${one.httpPort}   pid ${one.pid()}\n`,
  );
  const nbd = `nbd://${config.joined?.host ?? config.host ?? '127.0.0.1'}:${config.nbdPort}`;
  return `The cluster ${state}: ${config.sheep} sheep, ${config.copies} copies, in ${home.directory}
${rows.join('')}
Use it:
  dog vdi create first 4G${port}
  qemu-img info ${nbd}/first
  dog node list${port}
  dog cluster down${dir}       # stop it; data stays
  dog cluster destroy${dir}    # remove it with all its data
`;
}

async function down(context: Context, _operands: string[], options: { dir?: string }): Promise<void> {
  const home = openHome(context, options);
  const result = await bringDown(home, existing(home));
  if (context.json) return context.printJson({ directory: home.directory, ...result });
  if (result.stopped === 0) return context.printLine(`The cluster in ${home.directory} is not running.`);
  const killed = result.killed === 0 ? '' : ` (${result.killed} had to be killed)`;
  await context.printLine(`Stopped ${result.stopped} sheep${killed}. Start again with 'dog cluster up'.`);
}

async function destroy(
  context: Context,
  _operands: string[],
  options: { dir?: string; yes?: boolean },
): Promise<void> {
  const home = openHome(context, options);
  const config = existing(home);
  if (options.yes !== true) {
    const text = `This removes the cluster in ${home.directory} and every volume in it.`;
    await confirm(context, `${text}\nAre you sure you want to continue? [yes/no]: `, 'Scripts say --yes.');
  }
  await bringDown(home, config);
  home.remove(config);
  if (context.json) return context.printJson({ directory: home.directory, removed: true });
  await context.printLine(`Removed the cluster in ${home.directory}.`);
}
