import type { KeyValues } from './key-values.js';
import { formatKeyValues, parseKeyValues } from './key-values.js';
import { type ImageName, imageNameOf } from './name.js';

/**
 * Images given as options instead of a name: `json:{...}` and --image-opts. Both are the same flat list of options;
 * a part of it whose driver is "sheepdog" (the image itself, or the file of a format) is put in other terms, everything
 * else stays as it is. Pure.
 */
export type FlatOptions = ReadonlyMap<string, unknown>;

/** A part of the options that names a sheepdog image; `prefix` is '' or ends with a dot. */
export interface ImagePart {
  readonly prefix: string;
  readonly name: ImageName;
}

/** Undefined when the text has no JSON object behind `json:`; the real tool says why. */
export function parseJsonName(text: string): FlatOptions | undefined {
  if (!text.startsWith('json:')) return undefined;
  try {
    const value: unknown = JSON.parse(text.slice('json:'.length));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const flat = new Map<string, unknown>();
    flatten(value as Record<string, unknown>, '', flat);
    return flat;
  } catch {
    return undefined;
  }
}

function flatten(
  value: Record<string, unknown> | unknown[],
  prefix: string,
  into: Map<string, unknown>,
): void {
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'object' && inner !== null) {
      flatten(inner as Record<string, unknown>, `${prefix}${key}.`, into);
    } else into.set(prefix + key, inner);
  }
}

export function formatJsonName(options: FlatOptions): string {
  return `json:${JSON.stringify(Object.fromEntries(options))}`;
}

export function parseImageOptions(text: string): FlatOptions {
  return new Map(parseKeyValues(text));
}

export function formatImageOptions(options: FlatOptions): string {
  return formatKeyValues([...options].map(([key, value]) => [key, String(value)]) as KeyValues);
}

/** Rejects with NameError when a part lacks something. */
export function imageParts(options: FlatOptions): ImagePart[] {
  return [...options]
    .filter(([key, value]) => value === 'sheepdog' && /(^|\.)driver$/.test(key))
    .map(([key]) => {
      const prefix = key.slice(0, -'driver'.length);
      return { prefix, name: imageNameOf(partOf(options, prefix)) };
    });
}

const ownKeys = /^(driver|vdi|snap-id|tag|filename|server\..*)$/;

function partOf(options: FlatOptions, prefix: string): Map<string, unknown> {
  const part = [...options].filter(([key]) => key.startsWith(prefix));
  return new Map(part.map(([key, value]) => [key.slice(prefix.length), value]));
}

/** Puts `replacement` in the place of the sheepdog options of one part; its other options (cache, discard) stay. */
export function replacePart(
  options: FlatOptions,
  part: ImagePart,
  replacement: readonly (readonly [string, string])[],
): FlatOptions {
  const kept = [...options].filter(
    ([key]) => !(key.startsWith(part.prefix) && ownKeys.test(key.slice(part.prefix.length))),
  );
  const put = replacement.map(([key, value]) => [part.prefix + key, value] as [string, unknown]);
  return new Map([...put, ...kept]);
}
