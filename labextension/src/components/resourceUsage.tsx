import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import * as format from '../ui/format';
import type { IServiceModel } from '../tokens';
import type { IGpu } from '../service/wire';
import { useLive, write } from './primitives';
import { usePanel } from './panelContext';

/** Processor, memory and GPU use of the service and its machine. */
export function Usage(): JSX.Element {
  const { model, trans } = usePanel();
  const root = React.useRef<HTMLDivElement>(null);
  /** The list of GPUs changes rarely, so React renders it. */
  const [gpus, setGpus] = React.useState('');
  const draw = React.useCallback(() => {
    if (model.machine !== null) {
      setGpus(model.machine.gpus?.map(({ name }) => name).join('\n') ?? '');
    }
  }, [model]);
  useLive(root, draw);
  return (
    <div className="iw-Usage iw-Live" ref={root}>
      <Meter label={trans.__('Processor')} read={processorUse} />
      <Meter label={trans.__('Memory')} read={memoryUse} />
      {gpus !== '' && gpus.split('\n').map((name, i) => <Gpu key={i} name={name} index={i} />)}
    </div>
  );
}

function Gpu({ name, index }: { name: string; index: number }): JSX.Element {
  const { trans } = usePanel();
  const [use, memory] = React.useMemo(
    () => [ofGpu(index, gpuUse), ofGpu(index, gpuMemory)],
    [index]
  );
  return (
    <>
      <Meter label={name} read={use} />
      <Meter label={trans.__('GPU memory')} read={memory} />
    </>
  );
}

interface IUse {
  readonly text: string;
  /** Use of the machine, 0 to 1; null if unknown. */
  readonly used: number | null;
  /** The service's share of it, 0 to 1. */
  readonly own?: number;
}

type Read = (trans: TranslationBundle, model: IServiceModel) => IUse;

/** A bar with its label and value, written without React. `read` must be stable. */
function Meter({ label, read }: { label: string; read: Read }): JSX.Element {
  const { model, trans } = usePanel();
  const id = React.useId();
  const root = React.useRef<HTMLDivElement>(null);
  const value = React.useRef<HTMLSpanElement>(null);
  const bar = React.useRef<HTMLDivElement>(null);
  const used = React.useRef<HTMLSpanElement>(null);
  const own = React.useRef<HTMLSpanElement>(null);
  const draw = React.useCallback(() => {
    const use = read(trans, model);
    write(value.current, use.text);
    widen(used.current, use.used ?? 0);
    widen(own.current, use.own ?? 0);
    if (value.current && value.current.title !== use.text) {
      value.current.title = use.text;
    }
    // It keeps its place, so that nothing below moves when the first figures come.
    bar.current?.classList.toggle('iw-mod-unknown', use.used === null);
    bar.current?.setAttribute('aria-valuenow', String(Math.round((use.used ?? 0) * 100)));
    bar.current?.setAttribute('aria-valuetext', use.text);
  }, [model, read, trans]);
  useLive(root, draw);
  return (
    <div className="iw-Meter" ref={root}>
      <span className="iw-Meter-label" id={id} title={label}>
        {label}
      </span>
      <span className="iw-Meter-value" ref={value} />
      <div
        ref={bar}
        className="iw-Meter-bar"
        role="meter"
        aria-labelledby={id}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={0}
      >
        <span className="iw-Meter-used" ref={used} />
        <span className="iw-Meter-own" ref={own} />
      </div>
    </div>
  );
}

function widen(element: HTMLElement | null, part: number): void {
  const text = `${Math.round(Math.min(1, Math.max(0, part)) * 1000) / 10}%`;
  if (element && element.style.width !== text) {
    element.style.width = text;
  }
}

function processorUse(trans: TranslationBundle, { process, machine }: IServiceModel): IUse {
  const own = format.processor(process?.cpu);
  return machine?.cpu === undefined
    ? { text: own, used: null }
    : {
        text: trans.__('%1 of a core · machine %2', own, format.processor(machine.cpu)),
        used: machine.cpu
      };
}

function memoryUse(trans: TranslationBundle, { process, machine }: IServiceModel): IUse {
  const own = format.bytes(process?.resident_bytes);
  const { memory_bytes: all = 0, memory_used_bytes: used = 0 } = machine ?? {};
  return all > 0
    ? {
        text: trans.__('%1 · machine %2 of %3', own, format.bytes(used), format.bytes(all)),
        used: used / all,
        own: Math.min(used, process?.resident_bytes ?? 0) / all
      }
    : { text: own, used: null };
}

function gpuUse(_: TranslationBundle, { utilization }: IGpu): IUse {
  return { text: format.processor(utilization), used: utilization };
}

function gpuMemory(
  trans: TranslationBundle,
  { memory_bytes: all, memory_used_bytes: used }: IGpu
): IUse {
  return {
    text: trans.__('%1 of %2', format.bytes(used), format.bytes(all)),
    used: all && used !== null ? used / all : null
  };
}

/** `use` of one GPU; nothing while the GPU is unknown. */
function ofGpu(index: number, use: (trans: TranslationBundle, gpu: IGpu) => IUse): Read {
  return (trans, { machine }) => {
    const gpu = machine?.gpus?.[index];
    return gpu ? use(trans, gpu) : { text: format.UNKNOWN, used: null };
  };
}
