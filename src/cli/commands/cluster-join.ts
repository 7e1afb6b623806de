import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { addressArgument, countArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';
import { type ClusterConfig, ClusterHome, clusterDirectory } from '../local/home.js';
import { addressTowards, coordinatorOf, joinWithSheep, writeFiles, zoneOf } from '../local/join.js';
import { programOf, SheepProcess } from '../local/sheep-process.js';
import { endpointsOf, formatToken, parseToken, readAddressFiles } from '../local/token.js';
import { checkPorts } from '../local/up.js';

const HOUR_MS = 3_600_000;

interface JoinOptions {
  dir?: string;
  host?: string;
  zone?: string;
  nbdPort?: string;
  httpPort?: string;
  ioHost?: string;
  nbdSocket?: string;
  gateway?: boolean;
  printUnit?: boolean;
}

/** Several hosts: a word that says all a new one needs, and the command that takes it. */
export function clusterJoinCommands(parent: Command, runner: Runner): void {
  addLeaf<{ hours?: string }>(parent, runner, {
    usage: 'token',
    summary: 'print the token with which another host joins the cluster',
    details: `To be run on a host of the cluster, whose coordinator must be etcd. The token holds the address
of etcd, and the password and key that sheep use there, if any: then it is a secret, which opens the whole
cluster to whoever has it. It cannot be called back; after its time 'dog cluster join' refuses it, but its
contents stay good.`,
    examples: ['dog cluster token', 'dog cluster token --hours 1'],
    options: [['--hours <hours>', 'how long it is good for (default: 24)']],
    run: printToken,
  });
  addLeaf<JoinOptions>(parent, runner, {
    usage: 'join <token>',
    summary: 'make this host one of a cluster',
    details: `Makes a directory, starts a sheep in the background and waits until the cluster has it as a
member. Objects move to it by themselves. Run again, it starts the sheep if it does not run. 'dog cluster
down' stops it, 'dog cluster up' starts it again. The doors of the sheep (-p, --nbd-port, --http-port) open on
the address of this host: nobody but the hosts of the cluster and its clients should reach them.`,
    examples: [
      'dog cluster join sheepfold-eyJ2Ijox...',
      'dog cluster join sheepfold-eyJ2Ijox... --host 10.0.0.7 --dir /srv/fold',
      'dog cluster join sheepfold-eyJ2Ijox... --gateway --nbd-socket /run/sheepfold/nbd.sock',
      'dog cluster join sheepfold-eyJ2Ijox... --print-unit > /etc/systemd/system/sheep.service',
    ],
    options: [
      ['--dir <directory>', 'where the sheep lives (default: as for `dog cluster up`)'],
      ['--host <address>', 'address of this host for all doors (default: the one on the way to etcd)'],
      ['--io-host <address>', 'its address on a network of its own for traffic between sheep'],
      ['--gateway', 'serve volumes and hold no objects: for a host of guests'],
      ['--nbd-socket <path>', 'NBD on this unix socket (default: in the directory of the sheep)'],
      ['--zone <number>', 'hosts of one zone fail together (default: from the address, each host its own)'],
      ['--nbd-port <port>', 'NBD port (default: 10809)'],
      ['--http-port <port>', 'port for metrics and health (default: 7080)'],
      ['--print-unit', 'print a unit for systemd that runs this sheep, and start nothing'],
    ],
    run: join,
  });
}

async function printToken(context: Context, _operands: string[], options: { hours?: string }): Promise<void> {
  const hours = countArgument(options.hours ?? '24', 'number of hours', 1, 24 * 365);
  const { driver, address } = await context
    .call('cluster.coordinator', { secrets: true })
    .catch((error: unknown) => {
      throw refusal('Failed to ask for the coordinator', error, exitCodes.system);
    });
  if (driver !== 'etcd') {
    throw new Exit(
      exitCodes.failure,
      "The cluster's coordinator is a directory, which serves one host only",
      {
        hint: "Move it to etcd first: 'dog cluster move-coordinator etcd://HOST:2379/NAME'.",
      },
    );
  }
  const { clusterId } = await context.call('cluster.info', {});
  const expires = Date.now() + hours * HOUR_MS;
  const files = readAddressFiles(address);
  const token = formatToken({ v: 1, coordinator: address, cluster: clusterId, expires, files });
  if (endpointsOf(address).every(({ host }) => /^(127\.|localhost$|::1$)/.test(host))) {
    context.note('Note: etcd is known by a loopback address: only this host can join with this token.');
  }
  if (context.json) await context.printJson({ token, expires });
  else await context.printLine(token);
}

async function join(context: Context, [text]: string[], options: JoinOptions): Promise<void> {
  const token = parseToken(text!, Date.now());
  const home = new ClusterHome(clusterDirectory(options.dir, context.io.env));
  const coordinator = coordinatorOf(home, token);
  const known = home.read();
  if (known !== undefined && known.joined?.coordinator !== coordinator) {
    throw new Exit(exitCodes.failure, `${home.directory} belongs to another cluster`, {
      hint: 'Choose another directory with --dir.',
    });
  }
  const host = known?.joined?.host ?? options.host ?? (await addressTowards(token.coordinator));
  const config = known ?? home.create(configFor(context, options, coordinator, host));
  writeFiles(home, token);
  if (options.printUnit === true) return context.print(unitOf(context, home, config));
  try {
    await checkPorts(home, config);
    const { sheep, node, started } = await joinWithSheep(home, config, token.cluster, context.io.env);
    if (context.json)
      return context.printJson({ directory: home.directory, started, pid: sheep.pid(), node });
    await context.print(report(home, config, sheep, started));
  } catch (error) {
    // Without a store nothing of the cluster is in it, and the next try may choose other options.
    const hasStore = existsSync(path.join(home.sheepDirectory(0), 'store'));
    if (known === undefined && !hasStore) home.remove(config);
    throw error;
  }
}

function configFor(context: Context, options: JoinOptions, coordinator: string, host: string) {
  const port = countArgument(String(context.port), 'port', 1, 65535);
  const zone =
    options.zone === undefined ? zoneOf(host, port) : countArgument(options.zone, 'zone', 0, 0xffffffff);
  return {
    sheep: 1,
    copies: 1,
    port,
    nbdPort: countArgument(options.nbdPort ?? '10809', 'NBD port', 1, 65535),
    httpPort: countArgument(options.httpPort ?? '7080', 'HTTP port', 1, 65535),
    ...(options.ioHost !== undefined && { ioHost: addressArgument(options.ioHost) }),
    joined: {
      coordinator,
      host,
      zone,
      ...(options.gateway === true && { gateway: true }),
      ...(options.nbdSocket !== undefined && { nbdSocket: path.resolve(options.nbdSocket) }),
    },
  };
}

function report(home: ClusterHome, config: ClusterConfig, sheep: SheepProcess, started: boolean): string {
  const reach = `-a ${sheep.host}${sheep.port === 7000 ? '' : ` -p ${sheep.port}`}`;
  return `This host ${started ? 'has joined' : 'is one of'} the cluster: sheep on ${sheep.host}:${sheep.port}, \
zone ${config.joined?.zone}, in ${home.directory}
  nbd ${sheep.nbdPort}   http ${sheep.httpPort}   pid ${sheep.pid()}   log ${sheep.logFile}

What next:
  dog node list ${reach}
  dog node recovery ${reach}        # objects that move here
  dog cluster join TOKEN --print-unit > /etc/systemd/system/sheep.service   # start it with the host
`;
}

/** The process is systemd's to start and stop: no background, no pid file of our own needed to find it. */
function unitOf(context: Context, home: ClusterHome, config: ClusterConfig): string {
  const words = [
    process.execPath,
    ...programOf(context.io.env),
    ...new SheepProcess(home, config, 0).arguments(),
  ];
  const user = existsSync('/run/systemd/system') ? userInfo().username : 'root';
  return `[Unit]
Description=Sheepfold storage daemon
Wants=network-online.target
After=network-online.target etcd.service

[Service]
User=${user}
ExecStart=${words.map(quoted).join(' ')}
Restart=always
RestartSec=2
TimeoutStopSec=60
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}

/** systemd reads % and $ itself. */
function quoted(word: string): string {
  const text = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(text) ? `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"` : text;
}
