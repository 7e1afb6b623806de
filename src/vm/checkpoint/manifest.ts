import { AppError } from '../../base/errors.js';
import { isCheckpointId } from './names.js';

/** What a checkpoint says of itself: the note in the head of its state. */
export interface Manifest {
  readonly id: string;
  readonly domain: string;
  readonly uuid: string;
  readonly name: string;
  /** The guest was running; else it was paused. */
  readonly running: boolean;
  /** Of the emulator that wrote the state: `7.2.22`. */
  readonly qemu: string;
  readonly disks: readonly CheckpointDisk[];
}

/** A disk of the machine, and the volume of which the checkpoint has a snapshot. */
export interface CheckpointDisk {
  readonly target: string;
  readonly volume: string;
}

const FORMAT = 1;
/** More disks than QEMU takes. */
const DISKS_MAX = 1024;
const TEXT_CHARACTERS_MAX = 1024;

export function encodeManifest(manifest: Manifest): string {
  return JSON.stringify({ format: FORMAT, ...manifest });
}

/** Throws AppError 'invalid'. */
export function parseManifest(text: string): Manifest {
  const fields = parsed(text);
  const { format, id, running, disks } = fields;
  if (format !== FORMAT) throw wrong('it was made by another version');
  if (!isCheckpointId(id)) throw wrong('its id is none');
  if (typeof running !== 'boolean' || !Array.isArray(disks) || disks.length > DISKS_MAX) {
    throw wrong('its fields are not known');
  }
  const textOf = (record: Record<string, unknown>, key: string): string => {
    const value = record[key];
    if (typeof value === 'string' && value !== '' && value.length <= TEXT_CHARACTERS_MAX) return value;
    throw wrong(`it has no ${key}`);
  };
  return {
    id,
    running,
    domain: textOf(fields, 'domain'),
    uuid: textOf(fields, 'uuid'),
    name: textOf(fields, 'name'),
    qemu: textOf(fields, 'qemu'),
    disks: disks.map((disk: unknown) => {
      const record = Object(disk) as Record<string, unknown>;
      return { target: textOf(record, 'target'), volume: textOf(record, 'volume') };
    }),
  };
}

function parsed(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch (error) {
    throw new AppError('invalid', 'the checkpoint cannot be read: it says nothing of itself', {
      cause: error,
    });
  }
}

function wrong(reason: string): AppError {
  return new AppError('invalid', `the checkpoint cannot be read: ${reason}`);
}
