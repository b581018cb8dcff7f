import { type ITrans, WINDOWS } from './contract';
import { element } from './dom';

export interface IToolbarOptions {
  readonly trans: ITrans;
  readonly window_s: number;
  readonly onWindow: (seconds: number) => void;
  readonly onPause: (paused: boolean) => void;
}

/** Which time is shown, and whether it stands still: buttons for any number of plots. */
export function toolbar(options: IToolbarOptions): HTMLElement {
  const { trans, onWindow, onPause } = options;
  const group = element('span', {
    class: 'iw-Plots-windows',
    role: 'group',
    'aria-label': trans.__('Time that is shown')
  });
  const windows = WINDOWS.map(seconds => {
    const button = element(
      'button',
      { type: 'button', 'aria-pressed': String(seconds === options.window_s) },
      trans.__('%1 min', seconds / 60)
    );
    button.addEventListener('click', () => {
      windows.forEach(each => each.setAttribute('aria-pressed', String(each === button)));
      onWindow(seconds);
    });
    return button;
  });
  group.append(...windows);
  let paused = false;
  const pause = element('button', { type: 'button', class: 'iw-Plots-pause' });
  const show = () => {
    pause.textContent = paused ? trans.__('Go on') : trans.__('Pause');
    pause.title = paused
      ? trans.__('Show what is now')
      : trans.__('Let the plots stand still; nothing is lost meanwhile');
    pause.setAttribute('aria-pressed', String(paused));
  };
  show();
  pause.addEventListener('click', () => {
    paused = !paused;
    show();
    onPause(paused);
  });
  return element(
    'div',
    { class: 'iw-Plots-bar', role: 'toolbar', 'aria-label': trans.__('Live plots') },
    group,
    pause
  );
}
