import { AppError } from '../../base/errors.js';
import { DOMAIN_XML_BYTES_MAX } from '../domain-xml.js';

/**
 * The head of the file that `virsh save` writes and `virsh restore` reads, version 2, as libvirt 9.0 writes it and
 * later ones read it: the header, the data, then QEMU's migration stream to the end of the file. Numbers are in the
 * byte order of the machine, which is little-endian wherever we run; a reader that sees them swapped refuses.
 *
 *   0   16  magic
 *   16   4  version
 *   20   4  bytes of the data
 *   24   4  1: the guest was running
 *   28   4  compression; 0: none
 *   32   4  where in the data libvirt's cookie begins; 0: there is none
 *   36  56  zeroes
 *
 * The data are the domain's XML with a NUL after it, the cookie, and padding that libvirt leaves for longer XML. Our
 * note stands where the padding would, with a NUL after it too: the whole stays a file that libvirt reads.
 */
const MAGIC = 'LibvirtQemudSave';
const VERSION = 2;
export const HEADER_BYTES = 92;
/** The stream begins at a multiple of this. */
const ALIGN_BYTES = 4096;
const NOTE_BYTES_MAX = 256 * 1024;
const DATA_BYTES_MAX = DOMAIN_XML_BYTES_MAX + NOTE_BYTES_MAX + ALIGN_BYTES;
/** Longer is no head. */
export const HEAD_BYTES_MAX = HEADER_BYTES + DATA_BYTES_MAX;

export interface SaveImageHead {
  readonly xml: string;
  /** Ours; '' in a file of libvirt's own. */
  readonly note: string;
  readonly running: boolean;
}

/** Everything before the stream. Throws AppError 'invalid' when it is longer than libvirt or we read. */
export function encodeHead({ xml, note, running }: SaveImageHead): Buffer {
  const text = Buffer.from(`${xml}\0${note}\0`);
  const tooLong = Buffer.byteLength(xml) > DOMAIN_XML_BYTES_MAX || Buffer.byteLength(note) > NOTE_BYTES_MAX;
  if (tooLong || xml.includes('\0') || note.includes('\0')) {
    throw new AppError('invalid', "the domain's definition does not fit into a saved state");
  }
  const head = Buffer.alloc(Math.ceil((HEADER_BYTES + text.length) / ALIGN_BYTES) * ALIGN_BYTES);
  head.write(MAGIC, 'latin1');
  head.writeUInt32LE(VERSION, 16);
  head.writeUInt32LE(head.length - HEADER_BYTES, 20);
  head.writeUInt32LE(running ? 1 : 0, 24);
  text.copy(head, HEADER_BYTES);
  return head;
}

/** Bytes before the stream, from the header alone. Throws AppError 'invalid'. */
export function headBytesOf(header: Buffer): number {
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw new AppError('invalid', 'this is not the saved state of a machine');
  }
  const [version, dataBytes, compression] = [16, 20, 28].map((at) => header.readUInt32LE(at));
  if (version !== VERSION || compression !== 0 || dataBytes! > DATA_BYTES_MAX) {
    throw new AppError('invalid', 'the saved state has a format that is not known here');
  }
  return HEADER_BYTES + dataBytes!;
}

/** From at least the bytes before the stream. Throws AppError 'invalid'. */
export function decodeHead(bytes: Buffer): SaveImageHead {
  const length = headBytesOf(bytes);
  const data = bytes.subarray(HEADER_BYTES, length);
  const xmlEnd = data.indexOf(0);
  if (bytes.length < length || xmlEnd < 0) throw new AppError('invalid', 'the saved state is cut off');
  const noteEnd = data.indexOf(0, xmlEnd + 1);
  // libvirt's own cookie would stand there: it is not ours.
  const ours = bytes.readUInt32LE(32) === 0 && noteEnd >= 0;
  return {
    xml: data.toString('utf8', 0, xmlEnd),
    note: ours ? data.toString('utf8', xmlEnd + 1, noteEnd) : '',
    running: bytes.readUInt32LE(24) !== 0,
  };
}
