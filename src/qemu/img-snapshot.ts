import { AppError } from '../base/errors.js';
import type { VdiInfo } from '../control/api.js';
import { type CommandLine, formatArguments, type Option } from './arguments.js';
import { type ImgRun, imageOptions } from './img-run.js';
import type { Volume } from './session.js';
import { snapshotTable } from './snapshot-table.js';
import { refusalText, ToolError } from './tool-error.js';

/** `snapshot`: of a volume, snapshots are the cluster's, whatever the volume holds. */
export async function snapshot(run: ImgRun, line: CommandLine): Promise<number> {
  const actions = line.options.filter(({ name }) => ['l', 'a', 'c', 'd'].includes(name));
  if (line.operands.length !== 1 || actions.length > 1) return run.asItIs();
  const isForWriting = actions[0]?.name === 'a';
  const image = await run.session.open(line.operands[0]!, { ...imageOptions(line), isForWriting });
  if (image.volume === undefined) {
    return run.tool(['snapshot', ...formatArguments({ ...line, operands: [image.word] })], 'edit');
  }
  return act(run, image.volume, actions[0]);
}

async function act(run: ImgRun, volume: Volume, action: Option | undefined): Promise<number> {
  const wanted = action?.value ?? '';
  switch (action?.name) {
    case 'c':
      await take(volume, wanted);
      break;
    case 'a':
      await apply(volume, wanted);
      break;
    case 'd':
      await remove(volume, wanted);
      break;
    case 'l':
      run.print(snapshotTable(await volume.sheep.snapshots(volume.vdi.name)));
      break;
    default:
  }
  return 0;
}

async function take({ vdi, sheep }: Volume, tag: string): Promise<void> {
  if (vdi.snapshot) {
    const reason = `You can't create a snapshot of a snapshot VDI, ${vdi.name} (${vdi.vid}).`;
    throw new ToolError(`${reason}\nqemu-img: ${couldNotTake(tag, 'invalid')}`);
  }
  try {
    await sheep.call('vdi.snapshot', { name: vdi.name, tag });
  } catch (error) {
    const reason = `failed to create inode for snapshot: ${refusalText(error)}, ${vdi.name}`;
    const code = AppError.isCode(error, 'invalid') ? 'invalid' : 'io';
    throw new ToolError(`${reason}\nqemu-img: ${couldNotTake(tag, code)}`, 1, { cause: error });
  }
}

function couldNotTake(tag: string, code: 'invalid' | 'io'): string {
  const errno = code === 'invalid' ? '-22 (Invalid argument)' : '-5 (Input/output error)';
  return `Could not create snapshot '${tag}': ${errno}`;
}

/** By id when the text is a number, as QEMU's driver read it, else by tag. Tags here never are numbers. */
function pick(rows: readonly VdiInfo[], wanted: string): VdiInfo | undefined {
  return rows.find((row) => row.tag === wanted) ?? rows.find((row) => String(row.snapId) === wanted);
}

async function apply({ vdi, sheep }: Volume, wanted: string): Promise<void> {
  const prefix = `Could not apply snapshot '${wanted}': Failed to load snapshot: `;
  const found = pick(await sheep.snapshots(vdi.name), wanted);
  if (found === undefined) throw new ToolError(`${prefix}No such file or directory`);
  try {
    await sheep.call('vdi.rollback', { name: vdi.name, snapId: found.snapId });
  } catch (error) {
    throw new ToolError(prefix + refusalText(error), 1, { cause: error });
  }
}

async function remove({ vdi, sheep }: Volume, wanted: string): Promise<void> {
  const found = pick(await sheep.snapshots(vdi.name), wanted);
  if (found === undefined) throw new ToolError(`Could not delete snapshot '${wanted}': snapshot not found`);
  try {
    await sheep.call('vdi.delete', { name: vdi.name, snapId: found.snapId });
  } catch (error) {
    throw new ToolError(`Could not delete snapshot '${wanted}': ${refusalText(error)}`, 1, { cause: error });
  }
}
