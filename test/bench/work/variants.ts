/** Rows of requests at several variants of Sheepfold, which take turns as targets do. */
import type { Settings } from '../options.js';
import { Field } from '../peers/field.js';
import { RAMP_SECONDS, warmSample } from '../peers/warm-sample.js';
import { say } from '../progress.js';
import { calibrate, type Measured, type Sample } from '../samples.js';
import type { Workload } from '../workloads.js';
import type { WorkColumn, WorkRound, WorkTable } from './table.js';
import type { WorkCell } from './work.js';

const MIB = 2 ** 20;

export interface Variant extends Measured, WorkColumn {}

/** All of them run, and are ours: the failure of one ends it. */
export async function variantsTable(
  title: string,
  workloads: readonly Workload[],
  settings: Settings,
  variants: readonly Variant[],
  { own, notes }: Pick<WorkTable, 'own' | 'notes'>,
): Promise<WorkTable> {
  const rounds = workloads.map(() => [] as WorkRound[]);
  const operations = new Map<string, number>();
  const field = new Field<string, Variant>(
    variants,
    variants.map(({ name }) => name),
  );
  for (let run = 0; run < settings.runs; run++) {
    say(`${title}, round ${run + 1} of ${settings.runs}`);
    for (const [index, workload] of workloads.entries()) {
      const round = await field.round(run, async (variant) => {
        const cell = `${workload.name} at ${variant.name}`;
        if (!operations.has(cell)) operations.set(cell, await calibrate(variant, workload, RAMP_SECONDS));
        return cellOf(workload, await warmSample(variant, workload, operations.get(cell)!, settings));
      });
      rounds[index]!.push(round);
    }
  }
  const rows = workloads.map((workload, index) => ({
    name: workload.name,
    unit: isLarge(workload) ? 'MB/s' : '1/s',
    ...{ better: 'more' as const, cpuUnit: 'us per operation', rounds: rounds[index]! },
  }));
  const columns = variants.map((variant) => ({ name: variant.name, title: variant.title }));
  return { title, columns, own, rows, notes };
}

function cellOf(workload: Workload, sample: Sample): WorkCell {
  const { operationsPerSecond, daemonCpuMsPerThousand, clientCpuMsPerThousand, stolenShare } = sample;
  const value = isLarge(workload) ? (operationsPerSecond * workload.blockBytes) / 1e6 : operationsPerSecond;
  return { value, cpu: daemonCpuMsPerThousand + clientCpuMsPerThousand, stolenShare };
}

function isLarge({ blockBytes }: Workload): boolean {
  return blockBytes >= MIB;
}
