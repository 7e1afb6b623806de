import type { VdiInfo } from '../control/api.js';
import { vdiBytesMax } from '../wire/sheepdog.js';
import { type CreateOptions, shapeOf, type VolumeShape } from './create-options.js';
import { type ImageName, isImageName, NameError, parseImageName } from './name.js';
import type { Session } from './session.js';
import type { Sheep } from './sheep.js';
import { roundToSector } from './sizes.js';
import { refusalText, ToolError } from './tool-error.js';

/**
 * Makes the volume for a new image, as QEMU's driver did: empty, or as a clone of a snapshot. Rejects with ToolError in
 * the driver's words. A tag in the name means nothing here.
 */
export async function makeVolume(
  session: Session,
  name: ImageName,
  sizeBytes: number,
  options: CreateOptions,
): Promise<VdiInfo> {
  if (options.backingFormat !== undefined && options.backingFormat !== 'sheepdog') {
    throw new ToolError('backing_file must be a sheepdog image');
  }
  const shape = shapeOf(options);
  const wantedBytes = roundToSector(sizeBytes);
  if (options.backingFile !== undefined) {
    return cloneVolume(session, name, wantedBytes, options.backingFile, shape);
  }
  const sheep = await session.connect(name);
  await checkSize(sheep, wantedBytes, shape.blockSizeShift);
  const params = {
    name: name.vdi,
    sizeBytes: wantedBytes,
    ...(shape.copies !== undefined && { copies: shape.copies }),
    ...(shape.blockSizeShift !== undefined && { blockSizeShift: shape.blockSizeShift }),
    ...(shape.preallocate && { preallocate: true }),
  };
  return sheep.call('vdi.create', params).catch((error: unknown) => {
    throw new ToolError(`${refusalText(error)}, ${name.vdi}`, 1, { cause: error });
  });
}

async function checkSize(sheep: Sheep, sizeBytes: number, shift: number | undefined): Promise<void> {
  const blockSizeShift = shift ?? (await sheep.call('cluster.info', {})).blockSizeShift;
  // Not formatted: the refusal says so better.
  if (blockSizeShift === 0) return;
  const maxBytes = vdiBytesMax(blockSizeShift);
  if (sizeBytes > maxBytes) {
    const gigabytes = Math.floor(maxBytes / 1024 ** 3);
    throw new ToolError(`An image is too large. The maximum image size is ${gigabytes}GB`);
  }
}

async function cloneVolume(
  session: Session,
  name: ImageName,
  sizeBytes: number,
  backingFile: string,
  shape: VolumeShape,
): Promise<VdiInfo> {
  const { sheep, vdi: base } = await findBacking(session, backingFile);
  if (!base.snapshot) throw new ToolError('cannot clone from a non snapshot vdi');
  if ((shape.copies ?? base.copies) !== base.copies) {
    throw new ToolError(`A clone has the redundancy of its backing file (${base.copies})`);
  }
  if ((shape.blockSizeShift ?? base.blockSizeShift) !== base.blockSizeShift) {
    throw new ToolError(`A clone has the object_size of its backing file (${2 ** base.blockSizeShift})`);
  }
  if (sizeBytes < base.sizeBytes) throw new ToolError('A clone cannot be smaller than its backing file');
  try {
    const source = { name: base.name, snapId: base.snapId };
    const vdi = await sheep.call('vdi.clone', { source, name: name.vdi, preallocate: shape.preallocate });
    return sizeBytes > vdi.sizeBytes ? await growOrDelete(sheep, vdi, sizeBytes) : vdi;
  } catch (error) {
    throw new ToolError(`${refusalText(error)}, ${name.vdi}`, 1, { cause: error });
  }
}

/** A clone of the wrong size must not be left for the next try to stumble over. */
async function growOrDelete(sheep: Sheep, vdi: VdiInfo, sizeBytes: number): Promise<VdiInfo> {
  try {
    return await sheep.call('vdi.resize', { name: vdi.name, sizeBytes });
  } catch (error) {
    await sheep.call('vdi.delete', { name: vdi.name });
    throw error;
  }
}

/** Rejects with ToolError. */
export async function findBacking(session: Session, text: string): Promise<{ sheep: Sheep; vdi: VdiInfo }> {
  if (!isImageName(text)) throw new ToolError('backing_file must be a sheepdog image');
  const name = parseName(text);
  const sheep = await session.connect(name);
  return { sheep, vdi: await sheep.find(name) };
}

/** Rejects with ToolError instead of NameError. */
export function parseName(text: string): ImageName {
  try {
    return parseImageName(text);
  } catch (error) {
    if (error instanceof NameError) throw new ToolError(error.message, 1, { cause: error });
    throw error;
  }
}

/**
 * Runs what fills a new volume, and deletes the volume unless that ends with 0: half of an image is of no use, and its
 * name is in the way of the next try. When the sheep cannot be reached any more, it stays.
 */
export async function fillOrDrop(
  session: Session,
  name: ImageName,
  fill: () => Promise<number>,
): Promise<number> {
  let exit = 1;
  try {
    exit = await fill();
  } finally {
    if (exit !== 0) {
      const sheep = await session.connect(name);
      // The failure of the filling is the one to tell.
      await sheep.call('vdi.delete', { name: name.vdi }).catch(() => undefined);
    }
  }
  return exit;
}
