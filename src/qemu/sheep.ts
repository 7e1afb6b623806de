import { AppError } from '../base/errors.js';
import type {
  ControlMethod,
  ControlParams,
  ControlResult,
  NodeDoors,
  VdiInfo,
  VdiRef,
} from '../control/api.js';
import { ControlClient } from '../control/client.js';
import { type ImageName, type SheepServer, serverText } from './name.js';
import { refusalText, ToolError } from './tool-error.js';

/** One sheep, as the tools use it: volume work is calls, data work goes through its NBD door. */
export class Sheep {
  private constructor(
    readonly server: SheepServer,
    readonly doors: NodeDoors,
    private readonly client: ControlClient,
  ) {}

  /** Rejects with ToolError in the words of QEMU's sockets. */
  static async connect(server: SheepServer): Promise<Sheep> {
    const client = await ControlClient.connect(server).catch((error: unknown) => {
      throw new ToolError(connectText(server, error), 1, { cause: error });
    });
    try {
      const { result } = await client.call('node.doors', {});
      return new Sheep(server, result, client);
    } catch (error) {
      client.close();
      throw new ToolError(refusalText(error), 1, { cause: error });
    }
  }

  /** Rejects with the sheep's AppError. */
  async call<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>> {
    return (await this.client.call(method, params)).result;
  }

  async write(name: string, offset: number, blob: Uint8Array): Promise<void> {
    await this.client.call('vdi.write', { name, offset }, { blob });
  }

  /** What a name means. Rejects with ToolError in the words of QEMU's driver. */
  async find(name: ImageName): Promise<VdiInfo> {
    try {
      return name.tag !== '' && name.snapId !== 0
        ? await this.findByEither(name)
        : await this.call('vdi.info', refOf(name));
    } catch (error) {
      const reason = `${refusalText(error)}, ${name.vdi} ${name.snapId} ${name.tag}`;
      throw new ToolError(`cannot get vdi info, ${reason}`, 1, { cause: error });
    }
  }

  /**
   * A cluster may be formatted so that a volume which is open (in a QEMU that has the driver, or in tgt) is refused to
   * others. Rejects with ToolError then. Reading, and taking a snapshot, never is in anybody's way.
   */
  async refuseLocked(name: ImageName): Promise<void> {
    if ((await this.call('cluster.info', {})).useLock !== true) return;
    const locks = await this.call('vdi.locks', {});
    if (!locks.some((lock) => lock.name === name.vdi)) return;
    const locked = new AppError('vdi-locked', 'VDI is already locked');
    throw new ToolError(`cannot get vdi info, ${refusalText(locked)}, ${name.vdi} 0 `, 1, { cause: locked });
  }

  private async findByEither(name: ImageName): Promise<VdiInfo> {
    const rows = await this.snapshots(name.vdi);
    const found = rows.find((row) => row.tag === name.tag || row.snapId === name.snapId);
    if (found === undefined) throw new AppError('no-tag', 'no such snapshot');
    return found;
  }

  /** Oldest first. */
  async snapshots(vdi: string): Promise<VdiInfo[]> {
    const rows = (await this.call('vdi.list', { name: vdi })).filter((row) => row.snapshot);
    return rows.sort((a, b) => a.snapId - b.snapId);
  }

  close(): void {
    this.client.close();
  }
}

export function refOf(name: ImageName): VdiRef {
  return {
    name: name.vdi,
    ...(name.tag !== '' && { tag: name.tag }),
    ...(name.snapId !== 0 && { snapId: name.snapId }),
  };
}

function connectText(server: SheepServer, error: unknown): string {
  if (AppError.isCode(error, 'invalid')) {
    return `address resolution failed for ${serverText(server)}: Name or service not known`;
  }
  const { message } = AppError.from(error);
  const reason = /^failed to connect to .*: (.*)$/s.exec(message)?.[1] ?? message;
  return `Failed to connect to '${serverText(server)}': ${reason}`;
}
