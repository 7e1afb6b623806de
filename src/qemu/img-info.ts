import type { VdiInfo } from '../control/api.js';
import { type CommandLine, formatArguments, lastValue, without } from './arguments.js';
import { type ImgRun, imageOptions } from './img-run.js';
import type { Image, Volume } from './session.js';
import { formatSize } from './sizes.js';
import { snapshotTable } from './snapshot-table.js';

/**
 * `info`: the real tool's answer, with what only a sheep knows: the room a volume takes and its snapshots. A volume
 * that holds an image of another format has the snapshots of that format, as ever.
 */
export async function info(run: ImgRun, line: CommandLine): Promise<number> {
  if (line.operands.length !== 1) return run.asItIs();
  const options = imageOptions(line);
  const image = await run.session.open(line.operands[0]!, options);
  const kept = options.isDriver ? without(line, 'f') : line;
  const words = ['info', ...formatArguments({ ...kept, operands: [image.word] })];
  if (image.volume === undefined) return run.tool(words, 'edit');
  const { exit, output } = await run.session.run(words, 'take');
  if (exit !== 0) {
    run.print(run.session.putBack(output));
    return exit;
  }
  const facts = await factsOf(image, image.volume);
  run.print(lastValue(line, 'output') === 'json' ? inJson(run, output, facts) : inText(run, output, facts));
  return 0;
}

interface Facts {
  readonly text: string;
  readonly usedBytes: number;
  readonly snapshots: readonly VdiInfo[];
}

/** Shared objects count: they are what the volume holds, though they are stored once. */
async function factsOf(image: Image, { vdi, sheep }: Volume): Promise<Facts> {
  return {
    text: image.text,
    usedBytes: vdi.usedBytes + vdi.sharedBytes,
    snapshots: await sheep.snapshots(vdi.name),
  };
}

const rawFormats = ['raw', 'nbd'];

function inJson(run: ImgRun, output: string, facts: Facts): string {
  const answer = JSON.parse(run.session.putBack(output)) as
    | Record<string, unknown>
    | Record<string, unknown>[];
  for (const image of Array.isArray(answer) ? answer : [answer]) {
    // Of a chain, the part that is ours is the one that the user named, or that was put back as its name.
    if (image.filename !== facts.text) continue;
    image['actual-size'] = facts.usedBytes;
    if (!rawFormats.includes(String(image.format))) continue;
    if (image.format === 'nbd') image.format = 'sheepdog';
    if (facts.snapshots.length > 0) image.snapshots = facts.snapshots.map(inSnapshotInfo);
  }
  return `${JSON.stringify(answer, undefined, 4)}\n`;
}

function inSnapshotInfo(vdi: VdiInfo) {
  const clockNs = BigInt(vdi.vmState?.clockNs ?? '0');
  return {
    'vm-clock-nsec': Number(clockNs % 1_000_000_000n),
    name: vdi.tag,
    'date-sec': Math.floor(vdi.snapshotMs / 1000),
    'date-nsec': (vdi.snapshotMs % 1000) * 1_000_000,
    'vm-clock-sec': Number(clockNs / 1_000_000_000n),
    id: String(vdi.snapId),
    'vm-state-size': vdi.vmState?.bytes ?? 0,
  };
}

function inText(run: ImgRun, output: string, facts: Facts): string {
  return run.session
    .putBack(output)
    .split('\n\n')
    .map((block) => (block.split('\n')[0] === `image: ${facts.text}` ? withFacts(block, facts) : block))
    .join('\n\n');
}

function withFacts(block: string, facts: Facts): string {
  const sized = block.replace(/^disk size: .*$/m, `disk size: ${formatSize(facts.usedBytes)}`);
  const format = /^file format: (.*)$/m.exec(sized)?.[1] ?? '';
  if (!rawFormats.includes(format)) return sized;
  const named = sized.replace(/^file format: nbd$/m, 'file format: sheepdog');
  if (facts.snapshots.length === 0) return named;
  const lines = named.replace(/\n$/, '').split('\n');
  // Behind the figures, in front of what the format or the file have to say of themselves.
  const at = lines.findIndex((line) => /^(Format specific|Child node)/.test(line));
  lines.splice(
    at < 0 ? lines.length : at,
    0,
    ...snapshotTable(facts.snapshots).replace(/\n$/, '').split('\n'),
  );
  return `${lines.join('\n')}${named.endsWith('\n') ? '\n' : ''}`;
}
