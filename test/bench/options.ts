/** What `npm run bench` can be asked for. */
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/sizes.js';
import { hasTool } from '../helpers/requires.js';
import { morePeerRows, peerRows, SNAPSHOT_ROW, WRITES_AFTER_ROW } from './peers/rows.js';
import { say } from './progress.js';
import { type TargetName, targetNames } from './targets.js';
import { chooseWork, type WorkChoice } from './work/choice.js';
import { type Workload, workloads } from './workloads.js';

export const USAGE = `usage: npm run bench -- [--quick] [--runs N] [--size SIZE] [--seconds S] [--only TEXT]
                        [--json FILE]
       npm run bench -- --peers [--work] [--targets LIST] [--steal PERCENT] [--results NAME] [options from above]
       npm run bench -- --work [the same options]
       npm run bench -- --recovery [--size SIZE] [--depth N] [--runs N] [--json FILE]

  --quick         fewer rows, shorter: under three minutes instead of about ten
  --runs N        rounds (5, quick 3); in each, every cell is measured once
  --size SIZE     of the volume (1G, quick 256M)
  --seconds S     per cell and round (1.5, quick 0.5; with --peers 3, after one that does not count)
  --only TEXT     rows whose name contains it
  --json FILE     writes all samples there; test/bench/results/ is the place for those worth keeping
  --peers         against Ceph RBD and GlusterFS, too (installs Debian's packages of them), in rows of its own;
                  with --only, all other rows can be had as well
  --work          mixed reads and writes, discard, deletion, clones, copies of images, both doors of Sheepfold, and 1, 3
                  and 6 sheep: with the same targets as --peers, in a table of their own; alone, without other rows
  --recovery      a sheep joins and gets its part of a full volume (4G), without clients and beside one that reads and
                  writes with --depth requests at a time (4); one run if no other number is given
  --targets LIST  of what to start beside Sheepfold: ${targetNames.slice(1).join(',')}
  --steal PERCENT rounds in which other virtual machines took more of the machine's time are dropped (5)
  --all           with --peers: other depths and sizes, too
  --results NAME  writes the report and a chart as test/bench/results/DATE-NAME.md and .svg
  --sheepdog FILE, --dog FILE   the programs of a C Sheepdog to compare with; its client is the QEMU that
                  scripts/old-qemu.sh has built, or --sheepdog-qemu-img FILE
`;

export interface Settings {
  readonly runs: number;
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly rows: readonly Workload[];
  readonly json?: string;
  readonly peers?: PeerSettings;
  /** Nothing else is measured then. */
  readonly recovery?: { readonly depth: number };
}

export interface PeerSettings {
  readonly targets: readonly TargetName[];
  readonly stolenShareMax: number;
  /** Whether the rows about a snapshot are wanted. */
  readonly snapshots: boolean;
  /** What is wanted of the other work; none without `--work`. */
  readonly work?: WorkChoice;
  readonly results?: string;
  readonly sheepdog?: { readonly sheep: string; readonly dog: string; readonly qemuImg?: string };
}

const MIB = 1024 * 1024;
const STOLEN_PERCENT_MAX = 5;
const RECOVERY_SIZE = '4G';
const RECOVERY_DEPTH = 4;

const text = { type: 'string' } as const;
const flag = { type: 'boolean', default: false } as const;
const options = {
  ...{
    quick: flag,
    help: flag,
    peers: flag,
    work: flag,
    recovery: flag,
    depth: text,
    all: flag,
    runs: text,
    size: text,
    seconds: text,
    only: text,
    json: text,
  },
  ...{ targets: text, steal: text, results: text, sheepdog: text, dog: text, 'sheepdog-qemu-img': text },
} as const;
type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

/** Undefined when only help was asked for; throws what is wrong in words. */
export function parseOptions(argv: string[], has: (tool: string) => boolean = hasTool): Settings | undefined {
  const { values } = parseArgs({ args: argv, options });
  if (values.help) return undefined;
  if (values.recovery) return parseRecovery(values);
  const runs = Number(values.runs ?? (values.quick ? 3 : 5));
  const seconds = Number(values.seconds ?? (values.quick ? 0.5 : values.peers || values.work ? 3 : 1.5));
  const sizeBytes = parseSize(values.size ?? (values.quick ? '256M' : '1G')) ?? 0;
  if (!(runs >= 1 && seconds > 0 && sizeBytes >= 4 * MIB))
    throw new Error('runs, seconds or size is too small');
  const peers = values.peers || values.work ? parsePeers(values, sizeBytes) : undefined;
  const rows = chooseRows(values, sizeBytes, has);
  const others = peers?.snapshots === true || peers?.work !== undefined;
  if (rows.length === 0 && !others) throw new Error('no row is left');
  const { json } = values;
  return { runs, seconds, sizeBytes, rows, ...(json !== undefined && { json }), ...(peers && { peers }) };
}

function parseRecovery(values: Values): Settings {
  if (values.peers || values.work) throw new Error('--recovery stands alone');
  const { json } = values;
  const [runs, depth] = [Number(values.runs ?? 1), Number(values.depth ?? RECOVERY_DEPTH)];
  const sizeBytes = parseSize(values.size ?? RECOVERY_SIZE) ?? 0;
  if (!(runs >= 1 && depth >= 1 && sizeBytes >= 4 * MIB)) throw new Error('runs, depth or size is too small');
  const common = { runs, sizeBytes, seconds: 0, rows: [] };
  return { ...common, recovery: { depth }, ...(json !== undefined && { json }) };
}

function chooseRows(
  { peers, work, all, quick, only }: Values,
  sizeBytes: number,
  has: (tool: string) => boolean,
): Workload[] {
  if (work && !peers) return [];
  const ordinary = workloads.filter((row) => (row.quick || !quick) && row.name.includes(only ?? ''));
  const own = [...peerRows(sizeBytes), ...(all ? morePeerRows(sizeBytes) : [])];
  const compared = own.filter((row) => row.name.includes(only ?? ''));
  // The comparison's own rows are few, as peers are slow to connect to; others come when they are named.
  const wanted = peers ? [...compared, ...(only === undefined ? [] : ordinary)] : ordinary;
  const rows = wanted.filter((row) => has(row.client));
  for (const row of wanted) if (!rows.includes(row)) say(`left out: ${row.name} (needs ${row.client})`);
  return rows;
}

function parsePeers(values: Values, sizeBytes: number): PeerSettings {
  const { only = '', results, sheepdog: sheep, dog } = values;
  const percent = Number(values.steal ?? STOLEN_PERCENT_MAX);
  if (!(percent >= 0)) throw new Error('--steal is a percentage');
  if (results !== undefined && !/^[a-z0-9][a-z0-9-]*$/.test(results))
    throw new Error('--results is a name of small letters, digits and dashes');
  if ((sheep === undefined) !== (dog === undefined)) throw new Error('--sheepdog and --dog go together');
  const qemuImg = values['sheepdog-qemu-img'];
  const work = values.work ? chooseWork(sizeBytes, only) : undefined;
  return {
    targets: parseTargets(values.targets),
    stolenShareMax: percent / 100,
    snapshots: values.peers && [SNAPSHOT_ROW, WRITES_AFTER_ROW].some((name) => name.includes(only)),
    ...(work && { work }),
    ...(results !== undefined && { results }),
    ...(sheep !== undefined && { sheepdog: { sheep, dog: dog!, ...(qemuImg !== undefined && { qemuImg }) } }),
  };
}

function parseTargets(list: string | undefined): TargetName[] {
  if (list === undefined) return [...targetNames];
  const names = list.split(',');
  const unknown = names.find((name) => !(targetNames as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`no target ${unknown}: ${targetNames.join(', ')}`);
  return targetNames.filter((name) => name === 'sheepfold' || names.includes(name));
}
