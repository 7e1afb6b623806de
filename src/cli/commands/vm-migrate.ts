import type { Command } from 'commander';
import type { Finding, Severity } from '../../control/doctor-api.js';
import type { NbdDisk, NbdPlace } from '../../vm/domain-xml.js';
import { arrivals } from '../../vm/migrate/arrival.js';
import type { MigrationFacts } from '../../vm/migrate/facts.js';
import type { MigrationFigures, MigrationOrder } from '../../vm/migrate/job.js';
import { judgeMigration, summariseMigration } from '../../vm/migrate/judge.js';
import { rewritePlaces } from '../../vm/rewrite.js';
import { Virsh } from '../../vm/virsh.js';
import { countArgument } from '../arguments.js';
import type { Context } from '../context.js';
import { formatDuration, parseDuration } from '../durations.js';
import { Exit, exitCodes } from '../exit.js';
import { findingRow, findingText } from '../findings-text.js';
import { addLeaf, type Runner } from '../leaf.js';
import { collectMigration, hostOfUri, type MigrationPlan } from '../migrate-collect.js';
import { runMigration } from '../migration.js';
import { type LibvirtOptions, libvirtOptions, libvirtRefusal, virshOf } from '../vm.js';

/** A running domain moved to another host, once nothing stands in its way. */

/** libvirt takes more; a guest that needs them has other troubles. */
const BANDWIDTH_MIB_MAX = 1_000_000;
const TIMEOUT_MS_MAX = 24 * 3_600_000;

interface Options extends LibvirtOptions {
  check?: boolean;
  toSheep?: string;
  migrateUri?: string;
  timeout?: string;
  bandwidth?: string;
  autoConverge?: boolean;
  p2p?: boolean;
}

export function vmMigrateCommands(vm: Command, runner: Runner): void {
  addLeaf<Options>(vm, runner, {
    usage: 'migrate <domain> <destination-uri>',
    summary: 'move a running domain to another host, after a look at both',
    details: `First both hypervisors, the cluster and the destination's sheep are asked whether something stands in the
way: 'bad' ends it there, and nothing is changed. Then it is 'virsh migrate --live'. A domain that is defined here is
defined there afterwards, and not here any more (--persistent --undefinesource): no two hosts can start it. Disks that
point to a sheep's door here point to the door of the destination's sheep there. At the end it runs there and not here,
or it stays here and the exit code is 1. Ctrl-C gives it up, and so does --timeout: the guest stays.
Raw lines of --check: SEVERITY RULE TEXT.`,
    examples: [
      'dog vm migrate web qemu+ssh://beta/system --check',
      'dog vm migrate web qemu+ssh://beta/system',
      'dog vm migrate web qemu+ssh://beta/system --to-sheep 10.0.0.2:7000 --migrate-uri tcp://10.1.0.2',
    ],
    options: [
      ['--check', 'say what stands in the way, and change nothing'],
      ['--to-sheep <host:port>', "the sheep of the destination's host (default: the one at its address)"],
      ['--timeout <duration>', 'give up after so long, as in 90s or 10m (default: never)'],
      [
        '--migrate-uri <uri>',
        'where its memory goes, as for virsh: tcp://ADDRESS (default: what libvirt finds)',
      ],
      ['--bandwidth <mib>', 'at most so many MiB a second (default: no limit)'],
      ['--auto-converge', 'slow the guest down if it changes its memory faster than that goes'],
      ['--p2p', 'the two daemons do it between them, without this command'],
      ...libvirtOptions,
    ],
    run: migrate,
  });
}

async function migrate(context: Context, [name, uri]: string[], options: Options): Promise<void> {
  const order = readOptions(options);
  const plan: MigrationPlan = {
    domain: name!,
    uri: uri!,
    source: virshOf(options),
    destination: new Virsh({ uri: uri! }),
    sourceIsHere: options.connect === undefined || hostOfUri(options.connect) === undefined,
    toSheep: options.toSheep === undefined ? undefined : addressArgument(options.toSheep),
  };
  const prefix = `Failed to move ${name}`;
  const facts = await collectMigration(context, plan).catch((error) => libvirtRefusal(prefix, error));
  const findings = judgeMigration(facts);
  const isBad = findings.some(({ severity }) => severity === 'bad');
  if (isBad || options.check === true) {
    await printFindings(context, facts, findings);
    if (isBad) throw new Exit(exitCodes.failure, '');
    return;
  }
  tell(context, findings, 'risk');
  const { timeoutMs, ...wishes } = order;
  const definitions = await definitionsFor(plan, facts).catch((error) => libvirtRefusal(prefix, error));
  const figures = await runMigration(context, {
    ...plan,
    state: facts.domain.state,
    timeoutMs,
    order: { ...wishes, ...definitions, domain: name!, uri: uri!, persistent: facts.domain.persistent },
  });
  await tellDone(context, facts, findings, figures);
}

type Wishes = Pick<MigrationOrder, 'migrateUri' | 'bandwidthMib' | 'autoConverge' | 'p2p'>;

function readOptions(options: Options): Wishes & { timeoutMs: number | undefined } {
  const { timeout, bandwidth, migrateUri, autoConverge, p2p } = options;
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
  if (timeout !== undefined && (timeoutMs === undefined || timeoutMs === 0 || timeoutMs > TIMEOUT_MS_MAX)) {
    throw new Exit(exitCodes.usage, `Invalid timeout '${timeout}': one like 90s, 10m or 2h is wanted`);
  }
  const bandwidthMib =
    bandwidth === undefined ? undefined : countArgument(bandwidth, 'bandwidth', 1, BANDWIDTH_MIB_MAX);
  return { timeoutMs, bandwidthMib, migrateUri, autoConverge, p2p };
}

function addressArgument(text: string): { host: string; port: number } {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const port = Number(found?.[3] ?? 7000);
  if (found !== null && port >= 1 && port <= 65535) return { host: (found[1] ?? found[2])!, port };
  throw new Exit(exitCodes.usage, `Invalid address '${text}': HOST:PORT is wanted`);
}

/** None, when disks point to the same place on both hosts. */
async function definitionsFor(
  { source, domain }: MigrationPlan,
  facts: MigrationFacts,
): Promise<Pick<MigrationOrder, 'liveXml' | 'persistentXml'>> {
  const places = new Map<string, NbdPlace>();
  for (const [target, arrival] of arrivals(facts)) {
    if (arrival.kind === 'moved') places.set(target, arrival.place);
  }
  if (places.size === 0) return {};
  const rewrite = async (...words: string[]) =>
    rewritePlaces(
      await source.run(['dumpxml', '--migratable', '--security-info', ...words, '--domain', domain]),
      (disk: NbdDisk) => places.get(disk.target),
    );
  const liveXml = await rewrite();
  return facts.domain.persistent ? { liveXml, persistentXml: await rewrite('--inactive') } : { liveXml };
}

async function printFindings(
  context: Context,
  facts: MigrationFacts,
  findings: readonly Finding[],
): Promise<void> {
  const summary = summariseMigration(facts, findings);
  const { domain, uri } = facts;
  if (context.json) return context.printJson({ domain: domain.name, destination: uri, summary, findings });
  if (context.raw) return context.print(findings.map((finding) => `${findingRow(finding)}\n`).join(''));
  await context.printLine([summary, ...findings.map(findingText)].join('\n\n'));
}

async function tellDone(
  context: Context,
  { domain, uri }: MigrationFacts,
  findings: readonly Finding[],
  figures: MigrationFigures,
): Promise<void> {
  const { name, state } = domain;
  if (context.json) return context.printJson({ domain: name, destination: uri, state, ...figures, findings });
  const { downtimeMs, totalMs } = figures;
  const stood = downtimeMs === undefined ? '' : `; it stood still for ${downtimeMs} ms`;
  const took = totalMs === undefined ? '' : ` of ${formatDuration(totalMs)}`;
  const verb = state === 'running' ? 'runs' : `is ${state}`;
  await context.printLine(`${name} ${verb} at ${uri}, and not here any more${stood}${stood && took}`);
  // What is to be done once it is there.
  tell(context, findings, 'note');
}

function tell(context: Context, findings: readonly Finding[], wanted: Severity): void {
  for (const finding of findings) {
    if (finding.severity === wanted) context.note(findingText(finding));
  }
}
