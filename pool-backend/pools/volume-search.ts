import { splitSnapshot, volumeNameOf } from './names.js';
import type { Pool } from './pool.js';
import type { Registry } from './registry.js';
import { lookUp, nameOf, pathOf, type Volume } from './volume.js';

/** The volume of that key in any active pool. */
export function findByKey(registry: Registry, key: string): Promise<Volume | undefined> {
  return search(registry, key, (volume) => nameOf(volume).key);
}

/** The volume of that path in any active pool; a path is the same text that was told. */
export function findByPath(registry: Registry, path: string): Promise<Volume | undefined> {
  return search(registry, path, pathOf);
}

/**
 * Keys and paths end with the volume's name, which is cut out and looked up: whoever asks for one of ten thousand does
 * not look at the others. A pool whose cluster is just being lost has not got the volume.
 */
async function search(
  registry: Registry,
  text: string,
  textOf: (volume: Volume) => string,
): Promise<Volume | undefined> {
  for (const pool of registry.all().filter((each) => each.active)) {
    for (const name of candidates(pool, text)) {
      const found = await lookUp(pool, name).catch(() => undefined);
      if (found !== undefined && textOf(found) === text) return found;
    }
  }
  return undefined;
}

/** What the volume could be called in the pool, when the text is its key, its URI, or a file's path. */
function candidates(pool: Pool, text: string): Set<string> {
  const last = text.slice(text.lastIndexOf('/') + 1);
  const names = new Set([last]);
  const [address = ''] = text.split('?');
  for (const each of [last, decoded(address.slice(address.lastIndexOf('/') + 1))]) {
    const { volume, snapshot } = splitSnapshot(each);
    const name = volumeNameOf(pool.namespace, volume);
    if (name !== undefined) names.add(snapshot === undefined ? name : `${name}@${snapshot}`);
  }
  names.delete('');
  return names;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not encoded by us: then it is no path of ours either.
    return text;
  }
}
