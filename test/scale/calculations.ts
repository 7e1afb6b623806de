/** The part of the report that is calculated: where objects lie, and what the coordinator is asked. */
import { type Load, ManyNodes } from './coordinator-load.js';
import { balanceOf, COPIES, clusterOf, type Loss, lossOf } from './placement.js';
import { out, table } from './table.js';

const OBJECTS_PER_NODE = 4000;
const OBJECTS_MAX = 1_000_000;
/** What recovery may take of a node's disk and network, and what lies on a node. */
const RATE_BYTES_PER_S = 100e6;
const NODE_BYTES = 2e12;
const shapes: readonly (readonly [nodes: number, racks: number])[] = [
  [10, 5],
  [100, 10],
  [1000, 50],
];

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`;

function hours(share: number): string {
  const seconds = (share * NODE_BYTES) / RATE_BYTES_PER_S;
  return seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function reportPlacement(): void {
  out(`## Placement (${COPIES} copies in distinct racks)`);
  out();
  const rows = shapes.map(([nodes, racks]) => {
    const { max, min, deviation } = balanceOf(
      clusterOf(nodes, racks),
      Math.min(nodes * OBJECTS_PER_NODE, OBJECTS_MAX),
    );
    return [nodes, racks, percent(max - 1), percent(1 - min), percent(deviation)];
  });
  table(['Nodes', 'Racks', 'Fullest above mean', 'Emptiest below mean', 'Standard deviation'], rows);
}

function reportLosses(): void {
  out(
    `## Recovery after a loss (${NODE_BYTES / 1e12} TB on each node, ${RATE_BYTES_PER_S / 1e6} MB/s of each for it)`,
  );
  out();
  const rows = shapes.flatMap(([nodes, racks]) => {
    const all = clusterOf(nodes, racks);
    const objects = Math.min(nodes * OBJECTS_PER_NODE, OBJECTS_MAX);
    const row = (what: string, loss: Loss) => [
      nodes,
      what,
      percent(loss.lost),
      percent(loss.moved),
      loss.gone === 0 ? 'none' : percent(loss.gone),
      hours(Math.max(loss.mostIn, loss.mostOut)),
    ];
    const rack = new Set(all.filter((n) => n.zone === 0).map((n) => n.id));
    return [
      row('one node', lossOf(all, new Set(['n0']), objects)),
      row(`a rack of ${nodes / racks}`, lossOf(all, rack, objects)),
    ];
  });
  table(['Nodes', 'Lost', 'Replicas lost', 'Replicas made', 'Objects gone', 'Time, slowest node'], rows);
}

async function reportLoad(): Promise<void> {
  out('## The coordinator, by event');
  out();
  const rows: (string | number)[][] = [];
  for (const [nodes, racks] of shapes) {
    const many = new ManyNodes(nodes, racks);
    const add = (what: string, load: Load) => {
      rows.push([
        nodes,
        what,
        load.epochs,
        load.transactions,
        load.refused,
        mb(load.writtenBytes),
        load.events,
      ]);
      rows.at(-1)!.push(mb(load.deliveredBytes), `${(load.elapsedMs / 1000).toFixed(1)} s`);
    };
    add('format', await many.form());
    add('one node dies', await many.lose((i) => i === 3));
    add('it returns', await many.bringBack());
    add('a rack dies', await many.lose((i) => i % racks === 1));
    add('it is given up', await many.giveUp());
  }
  table(
    [
      'Nodes',
      'Event',
      'Epochs',
      'Transactions',
      'Refused',
      'Written',
      'Watch events',
      'Delivered',
      'Simulated',
    ],
    rows,
  );
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

export async function reportCalculations(): Promise<void> {
  reportPlacement();
  reportLosses();
  await reportLoad();
}
