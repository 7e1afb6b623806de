import type { LossReport, MovePlan, VersionLoss } from '../control/member-api.js';
import { formatDuration } from './durations.js';
import { formatSize } from './sizes.js';

/** What a change would move, and what it would lose, in words. */

export function planLines(plan: MovePlan): string[] {
  if (!plan.changes) return ['Nothing has to be changed: it is so already.'];
  const notes = plan.warnings.map((text) => `Note: ${text}.`);
  if (plan.movedObjects === 0) return ['No object has to be moved.', ...notes];
  const width = Math.max(...plan.nodes.map((node) => address(node).length));
  const rows = plan.nodes.flatMap((node) => {
    const lines: string[] = [];
    const name = `  ${address(node).padEnd(width)}`;
    if (node.gainObjects > 0) {
      const free = `${formatSize(node.freeBytes)} are free${node.fits ? '' : ': it does not fit'}`;
      lines.push(`${name}  takes ${about(node.gainBytes, node.gainObjects)}; ${free}`);
    }
    if (node.lossObjects > 0) lines.push(`${name}  gives ${about(node.lossBytes, node.lossObjects)}`);
    return lines;
  });
  const rate = `${formatSize(plan.bytesPerS)}/s for each sheep (${plan.measured ? 'measured' : 'assumed'})`;
  return [
    `Moves ${about(plan.movedBytes, plan.movedObjects)}:`,
    ...rows,
    `That takes about ${formatDuration(Math.max(1000, plan.durationMs))} at ${rate}. Volumes stay in use.`,
    ...riskLines(plan),
    ...notes,
  ];
}

function riskLines({ objects, singleObjects }: MovePlan): string[] {
  const kept = 'No copy is removed before all new ones are complete.';
  if (singleObjects === 0) return [`${kept} Every object has more than one copy now.`];
  if (singleObjects === objects) return [`${kept} Every object has a single complete copy now.`];
  return [
    kept,
    `At risk now: ${singleObjects} of ${objects} objects have a single complete copy that is up.`,
  ];
}

/** Bytes are estimates; objects are counted, while the cluster works on. */
function about(bytes: number, objects: number): string {
  return `about ${formatSize(bytes)} in ${objects} object${objects === 1 ? '' : 's'}`;
}

function address(node: { host: string; port: number }): string {
  return `${node.host}:${node.port}`;
}

export function lossLines(report: LossReport): string[] {
  if (report.versions.length === 0) return ['No volume loses anything.'];
  return ['These lose data that was acknowledged:', ...report.versions.map(lossLine)];
}

function lossLine(loss: VersionLoss): string {
  const { name, snapId, tag, objects, lostObjects, goneObjects, objectBytes } = loss;
  const label = snapId === 0 ? name : `${name}, snapshot ${tag === '' ? snapId : tag}`;
  if (loss.inodeLost) return `  ${label}: its index; nothing of it, or only an older state, can be read`;
  if (loss.unreadable) return `  ${label}: not known, as its index is on a sheep that is down`;
  const older = lostObjects - goneObjects;
  const parts = [
    goneObjects > 0 && `${goneObjects} have no copy left`,
    older > 0 && `${older} go back to what a sheep has that was away`,
  ].filter((part) => part !== false);
  const bytes = formatSize(lostObjects * objectBytes);
  return `  ${label}: up to ${bytes}, ${lostObjects} of ${objects} objects (${parts.join(', ')})`;
}
