def render_views(*a):
    raise NotImplementedError
