import { alignDown } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import type { BlockDevice, DeviceProvider } from '../volume/device.js';
import { PAYLOAD_BYTES_MAX, TransmissionFlag } from './protocol.js';

/** Header style of the transmission phase; each is a superset of the one before. */
export type ReplyStyle = 'simple' | 'structured' | 'extended';

/** What GO, INFO and EXPORT_NAME say about an export; flags that need a reply style appear only with it. */
export function transmissionFlags(readOnly: boolean, style: ReplyStyle): number {
  const flag = TransmissionFlag;
  // MULTI_CONN is a promise: a flush on one connection covers what every connection was acknowledged (D-13).
  let flags = flag.HAS_FLAGS | flag.SEND_FLUSH | flag.SEND_FUA | flag.SEND_CACHE | flag.CAN_MULTI_CONN;
  if (readOnly) flags |= flag.READ_ONLY;
  else flags |= flag.SEND_TRIM | flag.SEND_WRITE_ZEROES | flag.SEND_FAST_ZERO;
  if (style !== 'simple') flags |= flag.SEND_DF;
  if (style === 'extended') flags |= flag.BLOCK_STATUS_PAYLOAD;
  return flags;
}

/** The preferred block size as the specification wants it: a power of two, 512 bytes to the maximum payload. */
export function preferredBlockBytes(device: BlockDevice): number {
  const wanted = device.info().preferredBlockBytes;
  const power = 2 ** Math.floor(Math.log2(Math.max(512, wanted)));
  return Math.min(power, alignDown(PAYLOAD_BYTES_MAX, 512));
}

/**
 * The empty name means the default export: the only volume there is. Rejects with AppError 'no-vdi' when there
 * is none or a choice (snapshots, `name@tag`, do not count).
 */
export async function resolveExportName(provider: DeviceProvider, name: string): Promise<string> {
  if (name !== '') return name;
  const volumes = (await provider.list()).filter((entry) => !entry.includes('@'));
  const only = volumes.length === 1 ? volumes[0] : undefined;
  if (only !== undefined) return only;
  throw new AppError('no-vdi', `no default export: ${volumes.length} volumes here, name one`);
}

/**
 * The device a handshake looks at. INFO, SET_META_CONTEXT and GO ask for the same name one after the other, so the
 * handle is kept between them; `take` hands it over, `release` closes what was not taken.
 */
export class ExportHandle {
  private held: { name: string; device: BlockDevice } | undefined;

  constructor(private readonly provider: DeviceProvider) {}

  /** The device and its full name. Rejects with AppError 'no-vdi', 'no-tag', ... */
  async open(requested: string): Promise<{ name: string; device: BlockDevice }> {
    const name = await resolveExportName(this.provider, requested);
    if (this.held?.name === name) return this.held;
    await this.release();
    this.held = { name, device: await this.provider.open(name) };
    return this.held;
  }

  take(): BlockDevice | undefined {
    const device = this.held?.device;
    this.held = undefined;
    return device;
  }

  async release(): Promise<void> {
    await this.take()?.close();
  }
}
