import { LibvirtError } from '../rpc/errors.js';

/**
 * How the names libvirt knows lie in the names of a cluster. A pool is a namespace: its volumes are the VDIs whose
 * names begin with the namespace and a tilde. The pool without a namespace has those in which no such prefix is. So no
 * volume is in two pools of one cluster. (The tilde because a cluster's names have no slash, and nothing has to be
 * escaped for it in a URI.)
 */
export const NAMESPACE_SEPARATOR = '~';
const NAME_BYTES_MAX = 255;

/** A volume that is being filled has such a name; nobody is shown it, and what a crash leaves of it is removed. */
const UNFINISHED_PREFIX = '.unfinished-';
/** Tag of the snapshot that a clone is made of, for the moment until the clone is there. */
const CLONE_TAG_PREFIX = '.libvirt-clone-';

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** A namespace as the pool's XML gives it: '' and '/' mean the volumes outside of namespaces. */
export function normalNamespace(source: string): string {
  const namespace = source === '/' ? '' : source;
  if (/[~@/]/.test(namespace) || CONTROL_CHARACTERS.test(namespace)) {
    throw new LibvirtError(
      'xml',
      `source name '${source}' must not contain '~', '@', '/' or control characters`,
    );
  }
  if (Buffer.byteLength(namespace) > NAME_BYTES_MAX / 2) {
    throw new LibvirtError('xml', `source name is longer than ${Math.floor(NAME_BYTES_MAX / 2)} bytes`);
  }
  return namespace;
}

/** The VDI's name. Throws LibvirtError 'xml' for a name that a new volume cannot have. */
export function vdiNameOf(namespace: string, name: string): string {
  const vdi = prefixOf(namespace) + name;
  if (name === '') throw new LibvirtError('xml', 'missing volume name');
  if (name.includes('/')) throw new LibvirtError('xml', `volume name '${name}' cannot contain '/'`);
  if (name.includes('@')) {
    throw new LibvirtError('xml', `volume name '${name}' cannot contain '@': that separates a snapshot`);
  }
  if (CONTROL_CHARACTERS.test(name)) throw new LibvirtError('xml', 'volume name has control characters');
  if (Buffer.byteLength(vdi) > NAME_BYTES_MAX) {
    const bytesMax = NAME_BYTES_MAX - Buffer.byteLength(prefixOf(namespace));
    throw new LibvirtError('xml', `volume name is longer than ${bytesMax} bytes`);
  }
  if (volumeNameOf(namespace, vdi) !== name) {
    throw new LibvirtError('xml', `volume name '${name}' is of another pool, or kept for volumes being made`);
  }
  return vdi;
}

/** The volume's name in the pool of that namespace, or undefined when the VDI is in another one or not finished. */
export function volumeNameOf(namespace: string, vdi: string): string | undefined {
  const at = vdi.indexOf(NAMESPACE_SEPARATOR);
  const isInside = at > 0 && at < vdi.length - 1;
  if ((isInside ? vdi.slice(0, at) : '') !== namespace) return undefined;
  const name = isInside ? vdi.slice(at + 1) : vdi;
  return name.startsWith(UNFINISHED_PREFIX) ? undefined : name;
}

export function unfinishedNameOf(namespace: string, id: string): string {
  return `${prefixOf(namespace)}${UNFINISHED_PREFIX}${id}`;
}

export function isUnfinished(namespace: string, vdi: string): boolean {
  return vdi.startsWith(prefixOf(namespace) + UNFINISHED_PREFIX);
}

export function cloneTag(id: string): string {
  return CLONE_TAG_PREFIX + id;
}

export function isCloneTag(tag: string): boolean {
  return tag.startsWith(CLONE_TAG_PREFIX);
}

/** `volume@snapshot` in its parts: the last '@' counts, and names of volumes have none. */
export function splitSnapshot(name: string): { volume: string; snapshot: string | undefined } {
  const at = name.indexOf('@');
  if (at <= 0) return { volume: name, snapshot: undefined };
  return { volume: name.slice(0, at), snapshot: name.slice(at + 1) };
}

function prefixOf(namespace: string): string {
  return namespace === '' ? '' : namespace + NAMESPACE_SEPARATOR;
}
