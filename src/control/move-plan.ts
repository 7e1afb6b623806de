import type { EpochRecord } from '../cluster/epochs/epoch.js';
import { targetOf } from '../cluster/epochs/epoch.js';
import type { Estimate } from '../cluster/recovery/estimate.js';
import { whenMoved } from '../cluster/recovery/estimate.js';
import { recoveryReserveBytes } from '../cluster/recovery/recovery-space.js';
import type { NodeInfo } from './api.js';
import type { MovePlan, NodePlan } from './member-api.js';

/** Where nothing has been measured: what a sheep takes over in a second beside its other work, carefully guessed. */
const ASSUMED_BYTES_PER_S = 30 * 2 ** 20;
/** A rate is believed when so much was moved with it. */
const MEASURED_BYTES_MIN = 2 ** 20;

export interface PlanSources {
  readonly record: EpochRecord;
  /** The epoch that the change would make. */
  readonly next: EpochRecord;
  readonly estimates: readonly Estimate[];
  /** Sheep that are up and did not answer. */
  readonly unasked: readonly string[];
  readonly nodes: readonly NodeInfo[];
  /** Most copies that any volume has. */
  readonly copiesMax: number;
  /** Sheep that are down and have the only newest content of something. */
  readonly awaited: readonly string[];
}

/** Joins what the sheep say of a change into what people need to know of it. Pure. */
export function movePlan(sources: PlanSources): MovePlan {
  const { estimates, nodes, next } = sources;
  const rows = nodes.map((node) => nodePlan(node, estimates)).filter((row) => isConcerned(row));
  const sum = (of: (estimate: Estimate) => number) => estimates.reduce((all, one) => all + of(one), 0);
  const { bytesPerS, measured } = rateOf(nodes);
  const most = Math.max(0, ...rows.map((row) => row.gainBytes));
  const plan: MovePlan = {
    changes: true,
    movedObjects: rows.reduce((all, row) => all + row.gainObjects, 0),
    movedBytes: rows.reduce((all, row) => all + row.gainBytes, 0),
    durationMs: Math.round((most / bytesPerS) * 1000),
    bytesPerS,
    measured,
    objects: sum((one) => one.objects),
    singleObjects: sum((one) => one.single),
    nodes: rows,
    refusals: [],
    warnings: [],
  };
  if (next.move !== undefined || plan.movedObjects > 0) judge(plan, sources);
  return plan;
}

export function nothingToDo(): MovePlan {
  return {
    changes: false,
    movedObjects: 0,
    movedBytes: 0,
    durationMs: 0,
    bytesPerS: ASSUMED_BYTES_PER_S,
    measured: false,
    objects: 0,
    singleObjects: 0,
    nodes: [],
    refusals: [],
    warnings: [],
  };
}

function nodePlan(node: NodeInfo, estimates: readonly Estimate[]): NodePlan {
  const plan: NodePlan = {
    id: node.id,
    host: node.host,
    port: node.port,
    up: node.up,
    gainObjects: 0,
    gainBytes: 0,
    lossObjects: 0,
    lossBytes: 0,
    freeBytes: node.freeBytes,
    fits: true,
  };
  for (const { gains, losses, bytesPerObject } of estimates) {
    plan.gainObjects += gains[node.id] ?? 0;
    plan.gainBytes += (gains[node.id] ?? 0) * bytesPerObject;
    plan.lossObjects += losses[node.id] ?? 0;
    plan.lossBytes += (losses[node.id] ?? 0) * bytesPerObject;
  }
  const reserve = recoveryReserveBytes(node.storeBytes);
  // What it will not hold any more leaves it only at the end.
  const unknown = node.storeBytes === 0;
  plan.fits = unknown || plan.gainBytes === 0 || plan.gainBytes <= node.freeBytes - reserve;
  return plan;
}

function isConcerned(row: NodePlan): boolean {
  return row.gainObjects > 0 || row.lossObjects > 0;
}

function rateOf(nodes: readonly NodeInfo[]): { bytesPerS: number; measured: boolean } {
  const rates = nodes.flatMap(({ progress }) =>
    progress !== undefined && progress.bytesPerS > 0 && progress.movedBytes >= MEASURED_BYTES_MIN
      ? [progress.bytesPerS]
      : [],
  );
  if (rates.length === 0) return { bytesPerS: ASSUMED_BYTES_PER_S, measured: false };
  return { bytesPerS: Math.min(...rates), measured: true };
}

function judge(plan: MovePlan, { record, next, copiesMax, nodes, unasked, awaited }: PlanSources): void {
  const nameOf = (id: string) => {
    const node = nodes.find((n) => n.id === id);
    return node === undefined ? id : `${node.host}:${node.port}`;
  };
  for (const row of plan.nodes) {
    if (row.fits) continue;
    plan.refusals.push({
      code: 'no-space',
      text: `what ${row.host}:${row.port} would be given does not fit`,
    });
  }
  const holders = whenMoved(next).nodes.filter((node) => node.placed !== undefined);
  const before = record.nodes.filter((node) => node.placed !== undefined);
  if (holders.length < copiesMax && holders.length < before.length) {
    const text = `only ${holders.length} sheep would hold objects, and there are volumes with ${copiesMax} copies`;
    plan.refusals.push({ code: 'few-nodes', text });
  }
  for (const node of next.nodes) {
    if (node.up || targetOf(node) === undefined) continue;
    const name = nameOf(node.id);
    plan.refusals.push({
      code: 'down',
      text: `${name} is down, and nothing can be finished without it: start it, or 'dog node out ${name}' first`,
    });
  }
  for (const id of awaited) {
    const text = `${nameOf(id)} is down and alone has the newest content of some objects: start it first`;
    plan.refusals.push({ code: 'awaited', text });
  }
  const zones = (list: typeof holders) => new Set(list.map((node) => node.placed!.zone)).size;
  if (zones(holders) < copiesMax && zones(holders) < zones(before)) {
    const text = `objects would lie in ${zones(holders)} zones only: some copies would share a zone`;
    plan.warnings.push(text);
  }
  for (const id of unasked)
    plan.warnings.push(`${nameOf(id)} did not answer: what lies on it is not counted`);
}
