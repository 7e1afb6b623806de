import type { Command } from 'commander';
import type { VdiInfo } from '../../control/api.js';
import type { Context } from '../context.js';
import { addLeaf, type Runner } from '../leaf.js';
import { formatSecond, formatSize } from '../sizes.js';
import { fetchVdis } from './vdi-list.js';

/** Families of volumes as a drawing for Graphviz. */
export function vdiGraphCommands(parent: Command, runner: Runner): void {
  addLeaf(parent, runner, {
    usage: 'graph',
    summary: 'draw volumes, snapshots and clones for Graphviz',
    examples: ['dog vdi graph | dot -Tsvg > volumes.svg'],
    run: graph,
  });
}

async function graph(context: Context): Promise<void> {
  const vdis = await fetchVdis(context);
  if (context.json) return context.printJson(vdis);
  await context.print(vdiGraph(vdis));
}

/** In the original's layout; working volumes are red. A parent that has been deleted is drawn by its id alone. */
export function vdiGraph(vdis: readonly VdiInfo[]): string {
  const head = `digraph G {
  node [shape = "box", fontname = "Courier"];

  "0" [shape = "ellipse", label = "root"];

`;
  return `${head}${vdis.map(graphNode).join('')}}\n`;
}

function graphNode(vdi: VdiInfo): string {
  const id = vdi.vid.toString(16);
  const [date, time] = formatSecond(vdi.createdMs).split(' ') as [string, string];
  const name = vdi.name.replace(/[\\"]/g, '\\$&');
  const label = [
    `Name: ${name.padStart(10)}`,
    `Tag:  ${String(vdi.snapId).padStart(10)}`,
    `Size: ${formatSize(vdi.sizeBytes).padStart(10)}`,
    `Date: ${date.padStart(10)}`,
    `Time: ${time.padStart(10)}`,
  ].join('\\n');
  const color = vdi.snapshot ? '' : ',\n    color="red"';
  return `  "${vdi.parentVid.toString(16)}" -> "${id}";
  "${id}" [
    group = "${name}",
    label = "${label}"${color}
  ];

`;
}
