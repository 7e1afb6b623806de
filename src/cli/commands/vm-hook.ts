import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import { DOMAIN_XML_BYTES_MAX } from '../../vm/domain-xml.js';
import { runHook } from '../../vm/hook.js';
import type { Context } from '../context.js';
import { Exit, exitCodes } from '../exit.js';
import { ArrivalFiles, LimitedCluster } from '../hook-cluster.js';
import { addLeaf, type Runner } from '../leaf.js';
import { libvirtOptions } from '../vm.js';
import { parsePlaceWord } from './vm-hooks.js';

/** What the script of `dog vm hooks install` calls: libvirt's words as operands, the domain on standard input. */

const STATE_DEFAULT = '/run/sheepfold/arrivals';

interface Options {
  place: string;
  state?: string;
  connect?: string;
  reconnect?: boolean;
}

export function vmHookCommands(vm: Command, runner: Runner): void {
  addLeaf<Options>(vm, runner, {
    usage: 'hook <domain> <operation> <sub> <extra>',
    summary: "one call of libvirt's hook (the installed script runs it)",
    details:
      'Reads the domain from standard input. Exit 1 keeps it from starting, with the reason on standard error.',
    examples: ['virsh dumpxml web | dog vm hook --place unix:/run/sheep/nbd.sock web prepare begin -'],
    options: [
      ['--place <place>', "the door of this host's sheep: unix:PATH or tcp:HOST:PORT"],
      ['--state <dir>', `what is remembered between two calls (default: ${STATE_DEFAULT})`],
      ['--no-reconnect', 'leave disks as libvirt made them'],
      ...libvirtOptions,
    ],
    run: hook,
  });
}

async function hook(context: Context, [domain, operation]: string[], options: Options): Promise<void> {
  if (options.place === undefined) throw new Exit(exitCodes.usage, 'dog: --place is wanted');
  const domainXml = await readInput(context);
  const cluster = new LimitedCluster(
    { host: context.host, port: context.port },
    parsePlaceWord(options.place),
  );
  const arrivals = new ArrivalFiles(options.state ?? STATE_DEFAULT);
  const event = { operation: operation!, domainXml };
  const outcome = await runHook(event, cluster, arrivals).catch((error: unknown) => {
    // In our own words, which name the volume: libvirt shows them to whoever wanted the domain to start.
    throw new Exit(exitCodes.failure, AppError.from(error).message, { cause: error });
  });
  if (outcome.domainXml !== undefined) await context.print(outcome.domainXml);
  for (const line of outcome.warnings) context.note(line);
  if (outcome.impatient.length > 0 && options.reconnect !== false) beginReconnect(context, domain!, options);
}

async function readInput(context: Context): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of context.io.stdin) {
    bytes += (part as Buffer).length;
    if (bytes > DOMAIN_XML_BYTES_MAX) throw new AppError('invalid', 'the XML is too long');
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * A process of its own, which libvirt does not wait for: it may talk to libvirt, and begins to when the domain has
 * started. It ends by itself.
 */
function beginReconnect(context: Context, domain: string, { connect }: Options): void {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const words = ['-a', context.host, '-p', String(context.port), 'vm', 'reconnect', '--when-started'];
  const uri = connect === undefined ? [] : ['--connect', connect];
  const child = spawn(process.execPath, [main, ...words, ...uri, '--', domain], {
    detached: true,
    stdio: 'ignore',
  });
  child.on('error', () => {});
  child.unref();
}
