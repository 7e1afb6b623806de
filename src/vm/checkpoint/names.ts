import { AppError } from '../../base/errors.js';

/**
 * How a checkpoint's pieces are called in the cluster: its state is the image `checkpoint:DOMAIN:NAME`, the snapshots
 * of its disks have the tag `checkpoint:NAME:ID`. The id is of one run of `dog vm savevm`, so that what a run left
 * behind is never taken for a piece of another.
 */
const PREFIX = 'checkpoint:';
const NAME_CHARACTERS_MAX = 64;
/** The longest name that a volume may have. */
const VOLUME_NAME_BYTES_MAX = 255;
const NAME = /^[A-Za-z0-9_.+-]+$/;
const ID = /^[0-9a-f]{12}$/;

export interface ImageName {
  readonly domain: string;
  readonly name: string;
}

/** A name has no colon, blank or slash. Throws AppError 'usage'. */
export function checkCheckpointName(name: string): void {
  if (NAME.test(name) && name.length <= NAME_CHARACTERS_MAX) return;
  throw new AppError(
    'usage',
    `Invalid name '${name}': up to ${NAME_CHARACTERS_MAX} letters, digits and any of . _ + - are wanted`,
  );
}

/** What volumes' names must not have in a domain's name is escaped. Throws AppError 'invalid' when it is too long. */
export function imageNameOf({ domain, name }: ImageName): string {
  const image = `${PREFIX}${encodeURIComponent(domain)}:${name}`;
  if (Buffer.byteLength(image) <= VOLUME_NAME_BYTES_MAX) return image;
  throw new AppError('invalid', `the names of domain ${domain} and of its checkpoint are too long together`);
}

/** Undefined: it is not the name of a checkpoint's state. */
export function parseImageName(image: string): ImageName | undefined {
  const [domain, name, ...more] = image.startsWith(PREFIX) ? image.slice(PREFIX.length).split(':') : [];
  if (domain === undefined || name === undefined || more.length > 0 || !NAME.test(name)) return undefined;
  try {
    return { domain: decodeURIComponent(domain), name };
  } catch {
    return undefined;
  }
}

export function tagOf({ name, id }: { name: string; id: string }): string {
  return `${PREFIX}${name}:${id}`;
}

/** Undefined: the snapshot is not a checkpoint's. */
export function parseTag(tag: string): { name: string; id: string } | undefined {
  const [name, id, ...more] = tag.startsWith(PREFIX) ? tag.slice(PREFIX.length).split(':') : [];
  if (name === undefined || id === undefined || more.length > 0) return undefined;
  return NAME.test(name) && ID.test(id) ? { name, id } : undefined;
}

export function isCheckpointId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}
