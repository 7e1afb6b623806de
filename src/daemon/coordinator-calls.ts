import { systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { systemRandom } from '../base/random.js';
import type { ControlCaller, ControlHandler, CoordinatorInfo } from '../control/api.js';
import { CONFIG_KEY } from '../control/cluster-calls.js';
import { checkFields } from '../control/params.js';
import type { Coordinator } from '../coord/coordinator.js';
import { withoutPassword } from '../coord/etcd/address.js';
import type { GuardedCoordinator } from '../coord/guarded-coordinator.js';
import { CoordinatorMove } from '../coord/move-coordinator.js';
import { normalAddress, openRawCoordinator } from '../coord/open-coordinator.js';

const ADDRESS_CHARACTERS_MAX = 2000;

/**
 * The control calls about the coordinator itself. A move outlives the parts of the sheep that does it: these are given
 * up on the way, as those of all others are, and opened again.
 */
export class CoordinatorCalls {
  private move: CoordinatorInfo['move'];

  constructor(private readonly log: Logger) {}

  /** A handler that answers these calls itself and everything else by `inner`. */
  over(inner: ControlHandler, coordinator: GuardedCoordinator): ControlHandler {
    return {
      call: async (method, params, blob, onProgress, caller) => {
        if (method === 'cluster.coordinator') return { result: this.info(coordinator, params, caller) };
        if (method === 'cluster.move-coordinator') {
          return { result: await this.begin(coordinator, params, caller) };
        }
        const answer = await inner.call(method, params, blob, onProgress, caller);
        if (method !== 'cluster.info') return answer;
        const { driver, address } = this.info(coordinator, {}, caller);
        return { ...answer, result: { ...(answer.result as object), coordinator: { driver, address } } };
      },
    };
  }

  private info(
    { driver, address }: GuardedCoordinator,
    params: unknown,
    caller: ControlCaller | undefined,
  ): CoordinatorInfo {
    const wantsSecrets = checkFields(params).secrets === true;
    if (wantsSecrets && caller?.local !== true) {
      throw new AppError('not-supported', 'secrets are told on the machine of the sheep only');
    }
    const { move } = this;
    return { driver, address: wantsSecrets ? address : withoutPassword(address), ...(move && { move }) };
  }

  private async begin(
    coordinator: GuardedCoordinator,
    params: unknown,
    caller: ControlCaller | undefined,
  ): Promise<{ id: string }> {
    if (caller?.local !== true) {
      throw new AppError('not-supported', 'a cluster is moved from the machine of one of its sheep only');
    }
    const { to } = checkFields(params);
    if (typeof to !== 'string' || to === '' || to.length > ADDRESS_CHARACTERS_MAX) {
      throw new AppError('invalid', 'to: an address is wanted');
    }
    const targetAddress = normalAddress(to);
    if (targetAddress === normalAddress(coordinator.address)) {
      throw new AppError('exists', 'the cluster has this coordinator already');
    }
    if (this.move?.state === 'running') throw new AppError('again', 'the cluster is moving already');
    const id = systemRandom.bytes(8).toString('hex');
    this.move = { id, state: 'running' };
    try {
      await this.start(id, coordinator, targetAddress);
    } catch (error) {
      this.failed(id, error);
      throw error;
    }
    return { id };
  }

  /** Resolves when the move is under way. It has coordinators of its own: the sheep's are closed meanwhile. */
  private async start(id: string, coordinator: GuardedCoordinator, targetAddress: string): Promise<void> {
    const { log } = this;
    const sourceAddress = normalAddress(coordinator.address);
    const opened: Coordinator[] = [];
    const open = async (address: string, create: boolean): Promise<Coordinator> => {
      const one = await openRawCoordinator({ address, log, create });
      opened.push(one);
      return one;
    };
    const close = async (): Promise<void> => {
      for (const one of opened) await one.close();
    };
    try {
      const target = await open(targetAddress, true);
      const source = await open(sourceAddress, false);
      const cluster = (await source.get(CONFIG_KEY))?.value ?? '';
      const addresses = { sourceAddress, targetAddress };
      const move = new CoordinatorMove({
        source,
        target,
        ...addresses,
        id,
        cluster,
        clock: systemClock,
        log,
      });
      await move.begin();
      log.info(
        { from: withoutPassword(sourceAddress), to: withoutPassword(targetAddress) },
        'moving the cluster',
      );
      void move
        .finish()
        .then(
          () => {
            this.move = { id, state: 'done' };
            log.info({ to: withoutPassword(targetAddress) }, 'the cluster has moved');
          },
          (error: unknown) => this.failed(id, error),
        )
        .finally(close);
    } catch (error) {
      await close();
      throw error;
    }
  }

  private failed(id: string, error: unknown): void {
    const { message } = AppError.from(error);
    this.move = { id, state: 'failed', error: message };
    this.log.error({ error: message }, 'the cluster was not moved');
  }
}
