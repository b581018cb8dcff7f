import { element } from './dom';

const SVG = 'http://www.w3.org/2000/svg';

/** A window with an arrow that leaves it. */
const SHAPE = 'M6.5 3H3v10h10V9.5 M9.5 2.5h4v4 M13.5 2.5 7.5 8.5';

/** A small button beside the title of a plot, which shows the plot in a place of its own. */
export function openButton(label: string, open: () => void): HTMLButtonElement {
  const button = element('button', {
    type: 'button',
    class: 'iw-Plot-open',
    title: label,
    'aria-label': label
  });
  const picture = document.createElementNS(SVG, 'svg');
  picture.setAttribute('viewBox', '0 0 16 16');
  picture.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', SHAPE);
  picture.append(path);
  button.append(picture);
  button.addEventListener('click', open);
  return button;
}
