/** Who owned a volume when, from the logs of all sheep: they are on one machine, and its clock is theirs. */
import { readFileSync } from 'node:fs';
import type { RealCluster } from '../helpers/real-cluster.js';

/** From the moment a sheep took a volume until it began to give it up, or was killed. */
export interface Ownership {
  readonly sheep: number;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Kill {
  readonly sheep: number;
  readonly atMs: number;
}

interface Line {
  readonly time: string;
  readonly volume?: string;
  readonly msg: string;
}

/** All ownerships of a volume, in order. `kills`: when sheep were killed, by the same clock (Date.now). */
export function ownerships(cluster: RealCluster, volume: string, kills: readonly Kill[]): Ownership[] {
  const all = cluster.sheep.flatMap(({ index, logFile }) => {
    const lines = readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((text) => text.includes(`"${volume}"`));
    const events = lines.map((text) => JSON.parse(text) as Line).filter((line) => line.volume === volume);
    const at = (line: Line) => Date.parse(line.time);
    const endsMs = [
      ...events.filter(({ msg }) => msg === 'gives a volume up').map(at),
      ...kills.filter(({ sheep }) => sheep === index).map(({ atMs }) => atMs),
      Number.POSITIVE_INFINITY,
    ];
    return events
      .filter(({ msg }) => msg === 'took a volume')
      .map((line) => ({
        sheep: index,
        fromMs: at(line),
        toMs: Math.min(...endsMs.filter((ms) => ms >= at(line))),
      }));
  });
  return all.sort((a, b) => a.fromMs - b.fromMs);
}

/** The first two that overlap, if any do. */
export function overlapOf(all: readonly Ownership[]): [Ownership, Ownership] | undefined {
  for (const [i, next] of all.entries()) {
    const before = all.slice(0, i).find(({ toMs }) => toMs > next.fromMs);
    if (before !== undefined) return [before, next];
  }
  return undefined;
}
